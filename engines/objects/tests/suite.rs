//! The crate's own stores, in memory and on the local disk, pass the shared suite through our adapter.

use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use squall_engine_objects::S3Objects;
use squall_store::suite::objects as suite;
use std::sync::Arc;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_in_memory_passes() {
    suite::run(&S3Objects::over(Arc::new(InMemory::new()), "")).await;
    suite::run(&S3Objects::over(Arc::new(InMemory::new()), "a/prefix")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_local_store_passes() {
    let dir = tempfile::tempdir().unwrap();
    suite::run(&S3Objects::over(Arc::new(LocalFileSystem::new_with_prefix(dir.path()).unwrap()), "prefix")).await;
}
