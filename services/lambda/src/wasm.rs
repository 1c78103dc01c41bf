//! What is particular to functions of the runtime `wasm`: their module is compiled before they are kept, and settings that
//! would have no effect on them are refused.

use crate::error::Error;
use crate::model::LayerRef;
use crate::package;
use crate::room::Lambda;
use crate::rules;
use bytes::Bytes;
use squall_runtime::{WASM_MODULE_BYTES_MAX, WASM_MODULES as MODULES, WASM_RUNTIME as RUNTIME, WasmRefused};

/// Linear memory ends where 32 bits do.
const MEMORY_MAX_MB: u32 = 4096;

/// Settings fit the runtime.
///
/// # Errors
/// `InvalidParameterValueException` for what would be ignored.
pub fn settings(runtime: &str, layers: &[LayerRef], memory_mb: u32, tmp_mb: u32) -> Result<(), Error> {
    if runtime != RUNTIME {
        return Ok(());
    }
    let checks = [
        (!layers.is_empty(), "Layers: functions of runtime wasm have no /opt"),
        (tmp_mb != rules::TMP_DEFAULT_MB, "EphemeralStorage: functions of runtime wasm have no /tmp"),
        (memory_mb > MEMORY_MAX_MB, "MemorySize: functions of runtime wasm have at most 4096 MB"),
    ];
    match checks.iter().find(|(there, _)| *there) {
        Some((_, text)) => Err(Error::invalid(*text)),
        None => Ok(()),
    }
}

/// The package's module can be run; it is compiled when this returns.
///
/// # Errors
/// `InvalidParameterValueException` that says what is wrong with it.
pub async fn code(room: &Lambda, runtime: &str, zip: &Bytes) -> Result<(), Error> {
    if runtime != RUNTIME {
        return Ok(());
    }
    let zip = zip.clone();
    let found = tokio::task::spawn_blocking(move || {
        for name in MODULES {
            if let Some(module) = package::file(&zip, name, WASM_MODULE_BYTES_MAX as u64)? {
                return Ok(Some(module));
            }
        }
        Ok::<_, Error>(None)
    });
    let module = found.await.map_err(|e| Error::internal("read a package", Box::new(e)))??;
    let module = module.ok_or_else(|| Error::invalid(format!("The package has no {}.", MODULES.join(" or "))))?;
    room.runtime.check_wasm(module).await.map_err(|e| match e {
        WasmRefused::Module(text) => Error::invalid(text),
        WasmRefused::Host(text) => Error::internal("compile a module", text),
    })
}

/// The same for a package that is kept already.
///
/// # Errors
/// As [`code`].
pub async fn kept_code(room: &Lambda, runtime: &str, object: &str) -> Result<(), Error> {
    if runtime != RUNTIME {
        return Ok(());
    }
    let zip = room.deps.objects.get(object).await.map_err(|e| Error::internal("read a package", Box::new(e)))?;
    let zip = zip.ok_or_else(|| Error::internal("read a package", format!("{object} is missing")))?;
    code(room, runtime, &zip).await
}
