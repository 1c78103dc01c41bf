//! Zygotes: for each runtime one interpreter with runtime client and SDK loaded, of which instances are forks.
//!
//! A zygote is started when the first function of its runtime is made ready or asks for an instance, and again when it has
//! ended. It never runs a function. Instances are executed as without it: until it is ready, where the launcher has none, and
//! for functions whose configuration reaches into the very start of the interpreter ([`reaches_start`]).
//!
//! A Java machine cannot be forked, and Node.js not on every host nor for every function. In the zygote's place there are stem cells:
//! processes that were started in sandboxes of their own and wait, one for each function that comes. How much memory they may use is
//! settled when they start, so they are made for a function size.

use crate::engine::Engine;
use crate::environment;
use crate::launch::{Exit, Layout, Mount, RUNTIME_API, Zygote, ZygoteSpec};
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
/// Stem cells that wait, at most: each holds 40 MiB.
const STEMS_MAX: usize = 4;
/// Function sizes of a runtime that stem cells are made for; one that nobody has asked for in a while makes room.
const SIZES_MAX: usize = 3;
const SIZE_FORGOTTEN: Duration = Duration::from_secs(3600);
/// Variables that a stem cell takes, and the bytes of their texts; more than AWS allows a function and what comes on top.
const VARIABLES_MAX: usize = 512;
const VARIABLES_BYTES: usize = 64 << 10;
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

/// Which zygote: runtime, SDK, and for stem cells the function size in MiB. An SDK that is there at last makes another one.
type Key = (String, Option<PathBuf>, u32);

/// The size of what is forked from: of no account.
const FORKED: u32 = 0;

/// With when it was last asked for.
struct Place {
    slot: Slot,
    asked: Duration,
}

/// The zygotes of a server.
#[derive(Default)]
pub struct Zygotes {
    slots: Mutex<BTreeMap<Key, Place>>,
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
        self.slots.lock().iter().map(|((id, ..), place)| (id.clone(), state(&place.slot))).collect()
    }

    /// Has a function's further instances executed: its runtime has crashed in a fork. The line says so in its log, once.
    pub fn avoid(&self, function: &Function, exit: Exit) -> Option<String> {
        if matches!(Family::of(&function.runtime), Some(Family::Java(_))) {
            // It was no fork: the crash is the function's own.
            return None;
        }
        let mut avoided = self.avoided.lock();
        if avoided.len() >= AVOIDED_MAX {
            avoided.clear();
        }
        let how = exit.signal.map(logline::signal_name).unwrap_or_default();
        avoided.insert((function.arn(), function.revision)).then(|| {
            format!(
                "The runtime was a fork of a prepared process and ended by signal: {how}. Further environments of this function \
                 are processes of their own."
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
    fn ready(&self, key: &Key, now: Duration) -> Option<Arc<dyn Zygote>> {
        let mut slots = self.slots.lock();
        let place = slots.get_mut(key)?;
        place.asked = now;
        match &place.slot {
            Slot::Ready(zygote, _) if zygote.is_alive() => Some(zygote.clone()),
            _ => None,
        }
    }

    fn is_unavailable(&self, key: &Key) -> bool {
        matches!(self.slots.lock().get(key), Some(Place { slot: Slot::Unavailable(_), .. }))
    }

    /// Changes a slot that still exists.
    fn set(&self, key: &Key, slot: Slot) -> bool {
        self.slots.lock().get_mut(key).map(|old| old.slot = slot).is_some()
    }

    /// Makes room for a zygote and has it start; false if it is on its way, or there is no room.
    fn begin(&self, key: &Key, now: Duration) -> bool {
        let mut slots = self.slots.lock();
        if slots.contains_key(key) {
            return false;
        }
        // One with another SDK, or without: its instances live on.
        slots.retain(|(id, sdk, _), _| *id != key.0 || *sdk == key.1);
        let asked = |slots: &BTreeMap<Key, Place>| {
            let same = slots.iter().filter(|((id, ..), _)| *id == key.0);
            same.map(|(k, place)| (place.asked, k.clone())).collect::<std::collections::BTreeSet<_>>()
        };
        let others = asked(&slots);
        if others.len() >= SIZES_MAX {
            match others.first() {
                Some((last, oldest)) if now.saturating_sub(*last) > SIZE_FORGOTTEN => drop(slots.remove(oldest)),
                _ => return false,
            }
        }
        slots.insert(key.clone(), Place { slot: Slot::Starting, asked: now });
        true
    }
}

impl Engine {
    /// Tells zygotes and launcher how much is to wait for functions, where that has changed.
    pub fn restock(&self) {
        let ready: Vec<(Key, Arc<dyn Zygote>)> = {
            let slots = self.zygotes.slots.lock();
            let ready = |(key, place): (&Key, &Place)| match &place.slot {
                Slot::Ready(zygote, _) => Some((key.clone(), zygote.clone())),
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
        for ((id, _, size), zygote) in ready {
            let target = match size {
                FORKED => standby.target([id.as_str()], now),
                _ => standby.expected(&id, now).min(STEMS_MAX),
            };
            if told.insert(zygote.number(), target) != Some(target) {
                zygote.stock(target);
            }
        }
    }

    /// The zygote of functions of this size: stem cells where the runtime cannot fork, here or at all.
    fn zygote_key(&self, found: &Found, memory_mb: u32) -> Key {
        let key = |size| (found.id.clone(), self.sdk.folder(found), size);
        match found.family {
            Family::Java(_) => key(memory_mb),
            Family::Node(_) if self.zygotes.is_unavailable(&key(FORKED)) => key(memory_mb),
            _ => key(FORKED),
        }
    }

    /// The zygote to make an instance of this function with, if there can be one now.
    pub fn zygote_for(self: &Arc<Self>, function: &Function, found: &Arc<Found>) -> Option<u64> {
        if reaches_start(function, found.family) {
            return None;
        }
        let mut key = self.zygote_key(found, function.memory_mb);
        if key.2 == FORKED && self.zygotes.is_avoided(function) {
            if !matches!(found.family, Family::Node(_)) {
                return None;
            }
            key.2 = function.memory_mb;
        }
        let ready = self.zygotes.ready(&key, self.now());
        if ready.is_none() {
            self.keep_zygote(found, key);
        }
        ready.filter(|zygote| !shadows(function, found.family, zygote.text())).map(|zygote| zygote.number())
    }

    /// Makes sure that the zygote for functions of this size is there or on its way; does not wait.
    pub fn start_zygote(self: &Arc<Self>, found: &Arc<Found>, memory_mb: u32) {
        self.keep_zygote(found, self.zygote_key(found, memory_mb));
    }

    fn keep_zygote(self: &Arc<Self>, found: &Arc<Found>, key: Key) {
        if self.options.zygotes && program(self, found, key.2).is_some() && self.zygotes.begin(&key, self.now()) {
            tokio::spawn(keep(Arc::downgrade(self), self.launcher.clone(), found.clone(), key));
        }
    }
}

/// Starts the zygote again whenever it ends.
async fn keep(engine: Weak<Engine>, launcher: Arc<dyn Launcher>, found: Arc<Found>, key: Key) {
    let mut ends = 0;
    while ends < ENDS_MAX {
        ends += 1;
        let Some(spec) = engine.upgrade().and_then(|engine| program(&engine, &found, key.2)) else { return };
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

/// What is started as the zygote of a runtime, or as its stem cells for functions of this size; `None` where there is no such thing.
pub fn program(engine: &Engine, found: &Found, size: u32) -> Option<ZygoteSpec> {
    let is_stem = size != FORKED;
    let client = environment::client(engine, found)?;
    let sdk = environment::sdk(engine, found);
    let layout = Layout::new(&engine.launcher, "/var/task".as_ref(), None, &client.host, sdk.as_ref());
    let mut argv: Vec<OsString> = vec![found.exe_inside.clone().into()];
    match found.family {
        Family::Node(_) if is_stem => {
            argv.extend(environment::node_options(size));
            argv.push(format!("{}/bootstrap.cjs", layout.runtime).into());
            argv.push("--stem".into());
            argv.extend(engine.options.sdk_node_preload.iter().map(Into::into));
        }
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
        Family::Python(_) if !is_stem => {
            argv.extend(["-s", "-S"].map(Into::into));
            argv.push(format!("{}/zygote.py", layout.runtime).into());
            argv.push(layout.sdk.clone().unwrap_or_default().into());
        }
        Family::Java(feature) => {
            argv.extend(environment::java_options(feature, size));
            if feature >= 23 {
                // How it takes the function's variables; said once, on the function's log, otherwise.
                argv.push("--sun-misc-unsafe-memory-access=allow".into());
            }
            argv.extend(["-cp".into(), format!("{}/squall-runtime.jar", layout.runtime).into()]);
            argv.extend(["squall.runtime.Stem", RUNTIME_API].map(Into::into));
        }
        Family::Python(_) | Family::Ruby(_) | Family::Provided | Family::Wasm => return None,
    }
    let mut env: Vec<(OsString, OsString)> =
        environment::shared(found, &layout).into_iter().map(|(k, v)| (k.into(), v.into())).collect();
    if matches!(found.family, Family::Java(_)) {
        env.insert(0, ("ROOM".into(), " ".repeat(VARIABLES_BYTES).into()));
        env.resize(VARIABLES_MAX, ("ROOM".into(), OsString::new()));
    }
    // Clients of the SDK are made beforehand: they are what functions without settings of their own would make.
    env.extend(environment::cloud(&engine.options.region).map(|(k, v)| (k.into(), v.into())));
    let mounts: Vec<Mount> = found.mounts.iter().cloned().chain([client]).chain(sdk).collect();
    Some(ZygoteSpec {
        id: found.id.clone(),
        argv,
        env,
        mounts,
        keeps_descriptors: matches!(found.family, Family::Node(_)) && !is_stem,
        is_stem,
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
        // Those of the machine itself; JDK_JAVA_OPTIONS is the launcher's.
        Family::Java(_) => ["JAVA_", "_JAVA_", "JDK_", "CLASSPATH", "TZ"].as_slice(),
        Family::Ruby(_) | Family::Provided | Family::Wasm => &[],
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
        let java = Family::Java(17);
        assert!(is_read_at_start("JAVA_TOOL_OPTIONS", java) && is_read_at_start("JDK_JAVA_OPTIONS", java));
        assert!(!is_read_at_start("TABLE", java) && !is_read_at_start("JAVA_TOOL_OPTIONS", node));
    }
}
