//! A body on its way in parts.

use bytes::Bytes;
use object_store::{MultipartUpload, Result, WriteMultipart};

/// Parts under way at a time.
const PARTS: usize = 4;

/// A write in parts; dropped before its end, it tells the store to forget them.
pub(crate) struct Upload(Option<WriteMultipart>);

impl Upload {
    pub fn new(upload: Box<dyn MultipartUpload>, part_bytes: usize) -> Upload {
        Upload(Some(WriteMultipart::new_with_chunk_size(upload, part_bytes)))
    }

    pub async fn write(&mut self, bytes: Bytes) -> Result<()> {
        if let Some(upload) = &mut self.0 {
            upload.wait_for_capacity(PARTS).await?;
            upload.put(bytes);
        }
        Ok(())
    }

    /// The object has its new bytes from here on.
    pub async fn finish(mut self) -> Result<()> {
        if let Some(upload) = &mut self.0 {
            // Failed parts are noticed while giving them back is still possible.
            upload.wait_for_capacity(1).await?;
        }
        match self.0.take() {
            Some(upload) => upload.finish().await.map(drop),
            None => Ok(()),
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let Some(upload) = self.0.take() else { return };
        // Without a runtime the process is ending: the store's own rule for unfinished uploads removes them.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = upload.abort().await {
                    tracing::warn!(%error, "give back the parts of an unfinished object");
                }
            });
        }
    }
}
