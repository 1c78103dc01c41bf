//! Zygotes: for each runtime one interpreter with runtime client and SDK loaded, of which instances are forks.
//!
//! A zygote is started when the first function of its runtime is made ready or asks for an instance, and again when it has
//! ended. It never runs a function. Instances are executed as without it: until it is ready, where the launcher has none, and
//! for functions whose configuration reaches into the very start of the interpreter ([`reaches_start`]).

use crate::engine::Engine;
use crate::environment;
use crate::launch::{Exit, Layout, Mount, Zygote, ZygoteSpec};
use crate::logline;
use crate::runtimes::{Family, Found, IDENTIFIERS};
use crate::{Function, Launcher};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Between the end of a zygote and the next try, times the number of its ends so far.
const PAUSE: Duration = Duration::from_millis(200);
/// A zygote that ends so often is of no use on this host.
const ENDS_MAX: u32 = 20;
/// One that lived so long was of use: its end starts the count anew.
const LONG_LIFE: Duration = Duration::from_secs(600);
/// Functions that are remembered as better executed; beyond, the count begins anew.
const AVOIDED_MAX: usize = 10_000;

/// How it stands with the zygote of a runtime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ZygoteState {
    /// It loads; instances are executed until it is ready.
    Starting,
    /// Instances are forks of it.
    Ready,
    /// Instances are executed: the reason.
    Unavailable(String),
}

enum Slot {
    Starting,
    /// With the end of a channel that tells its keeper when nobody wants it any more.
    Ready(Arc<dyn Zygote>, #[expect(dead_code, reason = "it is dropped with the slot")] oneshot::Sender<()>),
    Unavailable(String),
}

/// Which zygote: runtime and SDK. An SDK that is there at last makes another one.
type Key = (String, Option<PathBuf>);

/// The zygotes of a server.
#[derive(Default)]
pub struct Zygotes {
    slots: Mutex<BTreeMap<Key, Slot>>,
    /// Functions, by name and revision, whose runtime has crashed in a fork.
    avoided: Mutex<HashSet<(String, u64)>>,
    /// What each was last told to keep waiting; the launcher's own count by number 0.
    told: Mutex<BTreeMap<u64, usize>>,
}

/// Whether an interpreter that ended so may have met something that a fork cannot do.
pub fn is_crash(exit: Exit) -> bool {
    // SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV: never sent by the platform, and hardly ever by a function to itself.
    !exit.oom && matches!(exit.signal, Some(4 | 5 | 6 | 7 | 8 | 11))
}

impl Zygotes {
    /// Every zygote that was asked for, by runtime.
    pub fn states(&self) -> Vec<(String, ZygoteState)> {
        let state = |slot: &Slot| match slot {
            Slot::Starting => ZygoteState::Starting,
            Slot::Ready(..) => ZygoteState::Ready,
            Slot::Unavailable(why) => ZygoteState::Unavailable(why.clone()),
        };
        self.slots.lock().iter().map(|((id, _), slot)| (id.clone(), state(slot))).collect()
    }

    /// Has a function's further instances executed: its runtime has crashed in a fork. The line says so in its log, once.
    pub fn avoid(&self, function: &Function, exit: Exit) -> Option<String> {
        let mut avoided = self.avoided.lock();
        if avoided.len() >= AVOIDED_MAX {
            avoided.clear();
        }
        let how = exit.signal.map(logline::signal_name).unwrap_or_default();
        avoided.insert((function.arn(), function.revision)).then(|| {
            format!(
                "The runtime was a fork of a prepared process and ended by signal: {how}. Further environments of this function \
                 start without it."
            )
        })
    }

    fn is_avoided(&self, function: &Function) -> bool {
        let avoided = self.avoided.lock();
        !avoided.is_empty() && avoided.contains(&(function.arn(), function.revision))
    }

    /// Ends all of them.
    pub fn end(&self) {
        self.slots.lock().clear();
    }

    /// The one to fork an instance from, if it is ready.
    fn ready(&self, key: &Key) -> Option<Arc<dyn Zygote>> {
        match self.slots.lock().get(key) {
            Some(Slot::Ready(zygote, _)) if zygote.is_alive() => Some(zygote.clone()),
            _ => None,
        }
    }

    /// Changes a slot that still exists.
    fn set(&self, key: &Key, slot: Slot) -> bool {
        self.slots.lock().get_mut(key).map(|old| *old = slot).is_some()
    }
}

impl Engine {
    /// Tells zygotes and launcher how much is to wait for functions, where that has changed.
    pub fn restock(&self) {
        let ready: Vec<(String, Arc<dyn Zygote>)> = {
            let slots = self.zygotes.slots.lock();
            let ready = |((id, _), slot): (&Key, &Slot)| match slot {
                Slot::Ready(zygote, _) => Some((id.clone(), zygote.clone())),
                _ => None,
            };
            slots.iter().filter_map(ready).collect()
        };
        let (now, standby, mut told) = (self.now(), self.standby.lock(), self.zygotes.told.lock());
        let forked = |id: &str| matches!(Family::of(id), Some(Family::Node(_) | Family::Python(_)));
        let executed = standby.target(IDENTIFIERS.iter().copied().filter(|id| !forked(id)), now);
        if told.insert(0, executed) != Some(executed) {
            self.launcher.aim(executed);
        }
        told.retain(|number, _| *number == 0 || ready.iter().any(|(_, zygote)| zygote.number() == *number));
        for (id, zygote) in ready {
            let target = standby.target([id.as_str()], now);
            if told.insert(zygote.number(), target) != Some(target) {
                zygote.stock(target);
            }
        }
    }

    fn zygote_key(&self, found: &Found) -> Key {
        (found.id.clone(), self.sdk.folder(found))
    }

    /// The zygote to fork an instance of this function from, if there can be one now.
    pub fn zygote_for(self: &Arc<Self>, function: &Function, found: &Arc<Found>) -> Option<u64> {
        if reaches_start(function, found.family) || self.zygotes.is_avoided(function) {
            return None;
        }
        let ready = self.zygotes.ready(&self.zygote_key(found));
        if ready.is_none() {
            self.start_zygote(found);
        }
        ready.filter(|zygote| !shadows(function, found.family, zygote.text())).map(|zygote| zygote.number())
    }

    /// Makes sure that the runtime's zygote is there or on its way; does not wait.
    pub fn start_zygote(self: &Arc<Self>, found: &Arc<Found>) {
        if !self.options.zygotes || program(self, found).is_none() {
            return;
        }
        let key = self.zygote_key(found);
        {
            let mut slots = self.zygotes.slots.lock();
            if slots.contains_key(&key) {
                return;
            }
            // One with another SDK, or without: its instances live on.
            slots.retain(|(id, _), _| *id != key.0);
            slots.insert(key.clone(), Slot::Starting);
        }
        tokio::spawn(keep(Arc::downgrade(self), self.launcher.clone(), found.clone(), key));
    }
}

/// Starts the zygote again whenever it ends.
async fn keep(engine: Weak<Engine>, launcher: Arc<dyn Launcher>, found: Arc<Found>, key: Key) {
    let mut ends = 0;
    while ends < ENDS_MAX {
        ends += 1;
        let Some(spec) = engine.upgrade().and_then(|engine| program(&engine, &found)) else { return };
        let zygote: Arc<dyn Zygote> = match launcher.start_zygote(spec).await {
            Ok(zygote) => Arc::from(zygote),
            Err(e) => {
                tracing::debug!(runtime = found.id, "no zygote: {e}");
                if ends > 1 {
                    // There was one: whatever ended it may have hit this one too.
                    tokio::time::sleep(PAUSE * ends).await;
                    continue;
                }
                if let Some(engine) = engine.upgrade() {
                    engine.zygotes.set(&key, Slot::Unavailable(e.to_string()));
                }
                return;
            }
        };
        tracing::debug!(runtime = found.id, text = zygote.text(), "the zygote is ready");
        let born = Instant::now();
        let (wanted, unwanted) = oneshot::channel();
        match engine.upgrade() {
            Some(engine) if engine.zygotes.set(&key, Slot::Ready(zygote.clone(), wanted)) => engine.restock(),
            _ => return,
        }
        let why = tokio::select! {
            why = zygote.gone() => why,
            _ = unwanted => return,
        };
        tracing::warn!(runtime = found.id, why, "the zygote has ended; instances are executed until the next is ready");
        match engine.upgrade() {
            Some(engine) if engine.zygotes.set(&key, Slot::Starting) => {}
            _ => return,
        }
        if born.elapsed() > LONG_LIFE {
            ends = 1;
        }
        tokio::time::sleep(PAUSE * ends).await;
    }
    if let Some(engine) = engine.upgrade() {
        engine.zygotes.set(&key, Slot::Unavailable(format!("it has ended {ENDS_MAX} times")));
    }
}

/// What is started as the zygote of a runtime; `None` where there is no such thing.
pub fn program(engine: &Engine, found: &Found) -> Option<ZygoteSpec> {
    let client = environment::client(engine, found)?;
    let sdk = environment::sdk(engine, found);
    let layout = Layout::new(&engine.launcher, "/var/task".as_ref(), None, &client.host, sdk.as_ref());
    let mut argv: Vec<OsString> = vec![found.exe_inside.clone().into()];
    match found.family {
        Family::Node(_) => {
            // No threads of V8, which a fork would lose. What the rehearsals have compiled stays. Text on large pages need not
            // be mapped again by each fork (measured: a quarter of its page faults). The collection that V8 begins eight seconds
            // after the last one would fall into the first call of a fork that has waited longer (10 to 20 ms).
            argv.extend(["--single-threaded", "--no-flush-bytecode", "--use-largepages=silent"].map(Into::into));
            argv.extend(["--max-semi-space-size=8", "--no-memory-reducer"].map(Into::into));
            argv.push(format!("{}/bootstrap.cjs", layout.runtime).into());
            argv.push("--zygote".into());
            argv.extend(engine.options.sdk_node_preload.iter().map(Into::into));
        }
        Family::Python(_) => {
            argv.extend(["-s", "-S"].map(Into::into));
            argv.push(format!("{}/zygote.py", layout.runtime).into());
            argv.push(layout.sdk.clone().unwrap_or_default().into());
        }
        Family::Java(_) | Family::Ruby(_) | Family::Provided | Family::Wasm => return None,
    }
    let mut env: Vec<(OsString, OsString)> =
        environment::shared(found, &layout).into_iter().map(|(k, v)| (k.into(), v.into())).collect();
    // Clients of the SDK are made beforehand: they are what functions without settings of their own would make.
    env.extend(environment::cloud(&engine.options.region).map(|(k, v)| (k.into(), v.into())));
    let mounts: Vec<Mount> = found.mounts.iter().cloned().chain([client]).chain(sdk).collect();
    Some(ZygoteSpec {
        id: found.id.clone(),
        argv,
        env,
        mounts,
        keeps_descriptors: matches!(found.family, Family::Node(_)),
    })
}

/// Whether the function brings a Python module that the zygote has loaded from elsewhere: an SDK of its own, mostly. `loaded`
/// names the zygote's, with spaces between.
pub fn shadows(function: &Function, family: Family, loaded: &str) -> bool {
    let Family::Python(minor) = family else { return false };
    let loaded: HashSet<&str> = loaded.split(' ').collect();
    let layers = function
        .opt_dir
        .iter()
        .flat_map(|opt| [opt.join("python"), opt.join(format!("python/lib/python3.{minor}/site-packages"))]);
    std::iter::once(function.code_dir.clone()).chain(layers).any(|folder| {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|e| e.file_name()).any(|name| {
            let name = name.to_string_lossy();
            loaded.contains(name.split('.').next().unwrap_or_default())
        })
    })
}

/// Whether the function's configuration has a say in how the interpreter starts, which a fork is past.
pub fn reaches_start(function: &Function, family: Family) -> bool {
    function.env.iter().any(|(name, _)| is_read_at_start(name, family))
}

/// Whether a variable is read by the program itself or its libraries while they start.
fn is_read_at_start(name: &str, family: Family) -> bool {
    // Read when they are used, or given to the fork by the runtime client.
    const LATE: [&str; 5] = ["NODE_ENV", "NODE_PATH", "NODE_TLS_REJECT_UNAUTHORIZED", "PYTHONPATH", "PYTHONWARNINGS"];
    const EARLY: [&str; 4] = ["AWS_LAMBDA_EXEC_WRAPPER", "GLIBC_TUNABLES", "LANG", "LANGUAGE"];
    let own = match family {
        Family::Node(_) => ["NODE_", "UV_USE_"].as_slice(),
        Family::Python(_) => ["PYTHON"].as_slice(),
        Family::Java(_) | Family::Ruby(_) | Family::Provided | Family::Wasm => &[],
    };
    let common = ["LD_", "LC_", "MALLOC_", "OPENSSL_", "SSL_CERT_", "ICU_"];
    EARLY.contains(&name) || !LATE.contains(&name) && own.iter().chain(&common).any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_that_interpreters_read_at_their_start_are_known() {
        let node = Family::Node(20);
        for name in ["NODE_OPTIONS", "LD_PRELOAD", "LC_ALL", "AWS_LAMBDA_EXEC_WRAPPER", "NODE_EXTRA_CA_CERTS"] {
            assert!(is_read_at_start(name, node), "{name}");
        }
        for name in ["NODE_ENV", "TZ", "UV_THREADPOOL_SIZE", "PYTHONOPTIMIZE", "TABLE"] {
            assert!(!is_read_at_start(name, node), "{name}");
        }
        assert!(is_read_at_start("PYTHONOPTIMIZE", Family::Python(11)));
    }
}
