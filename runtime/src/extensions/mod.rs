//! Lambda extensions of one instance: who has registered, what events wait for them, whether all of them are done.
//!
//! External extensions are programs in `/opt/extensions`; they start with the runtime, and the init is over when the runtime and
//! every one of them has asked for its next event. Internal ones register from within the runtime's process. An instance takes its
//! next request when the runtime and all that have had an INVOKE event have asked again; the caller has the answer by then.
//!
//! Differs from AWS: SHUTDOWN is told when an idle instance ends (`spindown`), not after a timeout or failure, which ends
//! everything at once; the runtime gets no SIGTERM. The Logs and Telemetry APIs are refused.

pub mod api;

use crate::Function;
use crate::launch::Layout;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// As on AWS.
pub const COUNT_MAX: usize = 10;
/// How long extensions have after SHUTDOWN, as on AWS.
pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);

/// Starts every extension and becomes the runtime; one that fails ends the instance. `$0` is the folder.
const START: &str = r#"for e in "$0"/*; do
  if [ -f "$e" ] && [ -x "$e" ]; then ( "$e" || kill -KILL $$ ) & fi
done
exec "$@""#;

/// What an extension wants to hear of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Events {
    invoke: bool,
    shutdown: bool,
}

struct Member {
    id: String,
    name: String,
    events: Events,
    /// It has asked for its next event and not got one.
    is_waiting: bool,
    queue: VecDeque<String>,
    /// Something is in its queue.
    wake: Arc<Notify>,
}

#[derive(Default)]
struct Book {
    members: Vec<Member>,
    is_closed: bool,
    is_shutting_down: bool,
}

/// The extensions of an instance.
#[derive(Default)]
pub struct Extensions {
    /// Names of the external ones.
    expected: Vec<String>,
    book: Mutex<Book>,
}

/// Why an extension's request is refused: AWS's type, and a text.
pub type Refusal = (&'static str, String);

impl Extensions {
    /// Those of a function's layers.
    pub fn of(function: &Function) -> Self {
        let expected = function.opt_dir.as_deref().map(|opt| programs(&opt.join("extensions"))).unwrap_or_default();
        Self { expected, book: Mutex::default() }
    }

    /// Whether programs are to be started for it.
    pub fn has_programs(&self) -> bool {
        !self.expected.is_empty()
    }

    /// More than there may be.
    pub fn are_too_many(&self) -> bool {
        self.expected.len() > COUNT_MAX
    }

    /// The command that starts them and then the runtime.
    pub fn wrap(&self, argv: Vec<OsString>, layout: &Layout) -> Vec<OsString> {
        let folder = format!("{}/extensions", layout.opt);
        let start: [OsString; 4] = ["/bin/sh".into(), "-c".into(), START.into(), folder.into()];
        start.into_iter().chain(argv).collect()
    }

    /// Everybody has registered and waits.
    pub fn are_idle(&self) -> bool {
        let book = self.book.lock();
        let is_there = |name: &String| book.members.iter().any(|m| m.name == *name);
        self.expected.iter().all(is_there) && book.members.iter().all(|m| m.is_waiting && m.queue.is_empty())
    }

    /// Nobody may register any more: the init is over. What each is, for the log.
    pub fn close(&self) -> Vec<(String, Vec<&'static str>)> {
        let mut book = self.book.lock();
        book.is_closed = true;
        let names = |e: Events| [e.invoke.then_some("INVOKE"), e.shutdown.then_some("SHUTDOWN")].into_iter().flatten();
        book.members.iter().map(|m| (m.name.clone(), names(m.events).collect())).collect()
    }

    /// Whether anybody has registered.
    pub fn is_empty(&self) -> bool {
        self.book.lock().members.is_empty()
    }

    /// Tells of an invocation.
    pub fn invoke(&self, event: &Value) {
        self.tell(&event.to_string(), |events| events.invoke);
    }

    /// Tells of the end, once; false if nobody wants to know.
    pub fn shutdown(&self, deadline_ms: i64) -> Shutdown {
        {
            let mut book = self.book.lock();
            if std::mem::replace(&mut book.is_shutting_down, true) {
                return Shutdown::Told;
            }
            if !book.members.iter().any(|m| m.events.shutdown) {
                return Shutdown::Nobody;
            }
        }
        let event = json!({"eventType": "SHUTDOWN", "shutdownReason": "spindown", "deadlineMs": deadline_ms});
        self.tell(&event.to_string(), |events| events.shutdown);
        Shutdown::Telling
    }

    fn tell(&self, event: &str, wants: impl Fn(Events) -> bool) {
        for member in self.book.lock().members.iter_mut().filter(|m| wants(m.events)) {
            member.queue.push_back(event.to_owned());
            member.wake.notify_one();
        }
    }

    /// Registers an extension; `id` is to be its identifier.
    fn register(&self, id: String, name: &str, events: &[String]) -> Result<(), Refusal> {
        let is_external = self.expected.iter().any(|e| e == name);
        let events = read(events, is_external)?;
        let mut book = self.book.lock();
        if book.is_closed {
            return Err(("Extension.RegistrationClosed", "Extension registration closed already".into()));
        }
        if book.members.iter().any(|m| m.name == name) {
            return Err(("Extension.AlreadyRegistered", format!("Extension with name {name} is already registered")));
        }
        if book.members.len() >= COUNT_MAX {
            return Err(("Extension.TooManyExtensions", format!("Extension limit ({COUNT_MAX}) reached")));
        }
        let (name, wake) = (name.to_owned(), Arc::new(Notify::new()));
        book.members.push(Member { id, name, events, is_waiting: false, queue: VecDeque::new(), wake });
        Ok(())
    }

    /// The extension asks for its next event; what tells when there is one.
    fn asks(&self, id: &str) -> Option<Arc<Notify>> {
        let mut book = self.book.lock();
        let member = book.members.iter_mut().find(|m| m.id == id)?;
        member.is_waiting = true;
        Some(member.wake.clone())
    }

    /// Its next event, if there is one.
    fn take(&self, id: &str) -> Option<String> {
        let mut book = self.book.lock();
        let member = book.members.iter_mut().find(|m| m.id == id)?;
        let event = member.queue.pop_front()?;
        member.is_waiting = false;
        Some(event)
    }

    /// The name of a registered extension.
    fn name(&self, id: &str) -> Option<String> {
        self.book.lock().members.iter().find(|m| m.id == id).map(|m| m.name.clone())
    }
}

/// Whether an end was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// Nobody wants to know.
    Nobody,
    /// Now.
    Telling,
    /// Before.
    Told,
}

fn read(events: &[String], is_external: bool) -> Result<Events, Refusal> {
    let mut wanted = Events::default();
    for event in events {
        match event.as_str() {
            "INVOKE" => wanted.invoke = true,
            "SHUTDOWN" if is_external => wanted.shutdown = true,
            "SHUTDOWN" => {
                let text = "SHUTDOWN event not supported for internal extensions";
                return Err(("ShutdownEventNotSupportedForInternalExtension", text.into()));
            }
            other => return Err(("Extension.InvalidEventType", format!("{other}: not a valid extension event"))),
        }
    }
    Ok(wanted)
}

/// The executable files of a folder.
fn programs(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let is_program =
        |path: &Path| std::fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
    let entries = entries.filter(|e| is_program(&e.path()));
    entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> Extensions {
        Extensions { expected: vec!["a".into()], book: Mutex::default() }
    }

    fn register(x: &Extensions, id: &str, name: &str, events: &[&str]) -> Result<(), &'static str> {
        let events: Vec<String> = events.iter().map(|e| (*e).to_owned()).collect();
        x.register(id.into(), name, &events).map_err(|(kind, _)| kind)
    }

    #[test]
    fn an_instance_is_idle_when_all_wait() {
        let x = two();
        assert!(!x.are_idle(), "a has not registered");
        assert_eq!(register(&x, "1", "a", &["INVOKE", "SHUTDOWN"]), Ok(()));
        assert_eq!(register(&x, "2", "inner", &["INVOKE"]), Ok(()));
        assert!(x.asks("1").is_some() && !x.are_idle());
        assert!(x.asks("2").is_some() && x.are_idle());
        x.invoke(&json!({"eventType": "INVOKE"}));
        assert!(!x.are_idle());
        for id in ["1", "2"] {
            assert_eq!(x.take(id).as_deref(), Some(r#"{"eventType":"INVOKE"}"#));
            assert!(x.take(id).is_none() && !x.are_idle());
            assert!(x.asks(id).is_some());
        }
        assert!(x.are_idle() && x.asks("3").is_none());
        assert_eq!((x.shutdown(0), x.shutdown(0)), (Shutdown::Telling, Shutdown::Told));
        assert!(x.take("1").is_some_and(|e| e.contains("spindown")) && x.take("2").is_none());
    }

    #[test]
    fn registration_has_rules() {
        let x = two();
        assert_eq!(register(&x, "1", "a", &["NOISE"]), Err("Extension.InvalidEventType"));
        assert_eq!(register(&x, "1", "in", &["SHUTDOWN"]), Err("ShutdownEventNotSupportedForInternalExtension"));
        assert_eq!(register(&x, "1", "a", &[]), Ok(()));
        assert_eq!(register(&x, "2", "a", &[]), Err("Extension.AlreadyRegistered"));
        for n in 1..COUNT_MAX {
            assert_eq!(register(&x, &n.to_string(), &format!("x{n}"), &[]), Ok(()));
        }
        assert_eq!(register(&x, "9", "last", &[]), Err("Extension.TooManyExtensions"));
        assert_eq!(x.close().len(), COUNT_MAX);
        assert_eq!(register(&x, "9", "late", &[]), Err("Extension.RegistrationClosed"));
        assert_eq!(two().shutdown(0), Shutdown::Nobody);
    }
}
