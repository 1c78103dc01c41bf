//! What an instance is started with: program, environment, mounts, limits.

use crate::client::{NODE_SDK_INSIDE, PYTHON_SDK_INSIDE};
use crate::driver::StartError;
use crate::engine::Engine;
use crate::extensions::COUNT_MAX;
use crate::instance::Instance;
use crate::launch::{ENDPOINT, Exit, Layout, Mount, RUNTIME_API, Spec};
use crate::runtimes::{Family, Found};
use crate::{Function, InvokeError, logline, platform};
use squall_service::SessionCredentials;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// MemorySize that stands for one vCPU on AWS.
const MB_PER_CPU: u64 = 1769;
/// Least of an instance's session beyond its greatest age: the longest invocation, and room.
const SESSION_SLACK: Duration = Duration::from_secs(1800);

/// Everything that the launcher needs; writes the stream's first line.
pub async fn spec(engine: &Arc<Engine>, instance: &Arc<Instance>) -> Result<Spec, StartError> {
    let function = &instance.function;
    let found =
        engine.runtimes.find(&function.runtime).await.map_err(|e| StartError::Platform(InvokeError::Runtime(e)))?;
    engine.standby.lock().started(&found.id);
    engine.snapshots.choose(engine, instance);
    let init = platform::Init {
        runtime: &found.log_name(),
        version: &found.log_version(),
        version_arn: &found.version_arn(&function.region),
        kind: instance.initialization(),
    };
    let first = if instance.snapshot.is_restored() { platform::restore_start } else { platform::init_start };
    instance.output.platform(first(function, engine.clock.now(), &init));
    let session = engine.session(function, SESSION_SLACK).await.map_err(StartError::Platform)?;

    let client = client(engine, &found);
    let sdk = sdk(engine, &found);
    let nowhere = PathBuf::from("/var/runtime");
    let opt = function.opt_dir.as_deref();
    let runtime_dir = client.as_ref().map_or(&nowhere, |m| &m.host);
    let layout = Layout::new(&engine.launcher, &function.code_dir, opt, runtime_dir, sdk.as_ref());
    let is_on_host_paths = engine.launcher.is_on_host_paths();

    let mut argv = command(function, &found, &layout, is_on_host_paths)?;
    if let Some(wrapper) = function.env.iter().find(|(k, _)| k == "AWS_LAMBDA_EXEC_WRAPPER").map(|(_, v)| v) {
        wrap(&mut argv, function, &layout, &found, wrapper)?;
    }
    if instance.extensions.has_programs() {
        argv = with_extensions(instance, argv, &layout, is_on_host_paths)?;
    }
    let mut mounts = if is_on_host_paths { Vec::new() } else { found.mounts.clone() };
    mounts.extend(client.into_iter().chain(sdk).chain(instance.snapshot.mount()));
    if !is_on_host_paths {
        mounts.extend(provided_root(engine, &found));
    }
    let cpu = |full: u64| (u64::from(function.memory_mb) * full / MB_PER_CPU).max(2);
    Ok(Spec {
        id: format!("{}-{}", function.name, instance.id),
        argv,
        env: variables(instance, &found, &layout, &session),
        code: function.code_dir.clone(),
        opt: function.opt_dir.clone(),
        mounts,
        memory_bytes: u64::from(function.memory_mb) << 20,
        tmp_bytes: u64::from(function.tmp_mb) << 20,
        pids_max: engine.options.pids_max,
        cpu_shares: cpu(1024),
        cpu_quota_percent: engine.options.cpu_quota.then(|| u32::try_from(cpu(100)).unwrap_or(100)),
        // The programs of extensions start with the runtime, by a command.
        zygote: match instance.snapshot.zygote() {
            Some(number) => Some(number),
            None if instance.extensions.has_programs() => None,
            None => engine.zygote_for(function, &found),
        },
    })
}

/// Makes a folder that nobody else on the host enters.
pub fn private_folder(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Makes a folder in one: instances that it is mounted for read it.
pub fn open_folder(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::create_dir(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))
}

/// The runtime client, where it stands inside.
pub fn client(engine: &Engine, found: &Found) -> Option<Mount> {
    let host = match found.family {
        Family::Node(_) => &engine.clients.node,
        Family::Python(_) => &engine.clients.python,
        Family::Java(_) => &engine.clients.java,
        Family::Ruby(_) => &engine.clients.ruby,
        Family::Provided | Family::Wasm => return None,
    };
    Some(Mount { host: host.clone(), inside: "/var/runtime".into() })
}

/// The SDK, where it stands inside.
pub fn sdk(engine: &Engine, found: &Found) -> Option<Mount> {
    let inside = match found.family {
        Family::Node(_) => NODE_SDK_INSIDE,
        Family::Python(_) => PYTHON_SDK_INSIDE,
        Family::Java(_) | Family::Ruby(_) | Family::Provided | Family::Wasm => return None,
    };
    Some(Mount { host: engine.sdk.folder(found)?, inside: inside.into() })
}

fn command(function: &Function, found: &Found, layout: &Layout, on_host: bool) -> Result<Vec<OsString>, StartError> {
    let exe = if on_host { &found.exe } else { &found.exe_inside };
    let mut argv: Vec<OsString> = vec![exe.into()];
    match found.family {
        Family::Python(_) => {
            // Without `site` it starts in a third of the time; the client sets the path that `site` would have made. The
            // function's own PYTHON* variables count.
            argv.extend(["-s", "-S"].map(Into::into));
            argv.push(format!("{}/bootstrap.py", layout.runtime).into());
            argv.push(layout.opt.clone().into());
            argv.push(layout.sdk.clone().unwrap_or_default().into());
        }
        Family::Node(_) => {
            argv.extend(node_options(function.memory_mb));
            argv.push(format!("{}/bootstrap.cjs", layout.runtime).into());
        }
        Family::Java(feature) => {
            argv.extend(java_options(feature, function.memory_mb));
            argv.push("-cp".into());
            argv.push(format!("{}/squall-runtime.jar", layout.runtime).into());
            argv.push("squall.runtime.Main".into());
            argv.push(layout.opt.clone().into());
        }
        Family::Ruby(_) => {
            argv.push(format!("{}/bootstrap.rb", layout.runtime).into());
            argv.push(layout.opt.clone().into());
        }
        // WebAssembly has a driver of its own and never comes here.
        Family::Provided | Family::Wasm => argv = vec![bootstrap(function, layout)?],
    }
    Ok(argv)
}

/// The command that starts extensions as well; refused where a kill would not end them.
fn with_extensions(
    instance: &Instance,
    argv: Vec<OsString>,
    layout: &Layout,
    on_host: bool,
) -> Result<Vec<OsString>, StartError> {
    let refused = |kind: &str, message: String| {
        let failure = logline::Failure { kind: kind.into(), message };
        Err(StartError::Function { kind: failure.kind.clone(), payload: failure.payload().into() })
    };
    if instance.extensions.are_too_many() {
        return refused("Extension.TooManyExtensions", format!("Extension limit ({COUNT_MAX}) reached"));
    }
    if on_host {
        let text =
            "programs in /opt/extensions need isolation full or namespaces: without it they would outlive the function";
        return refused("Extension.NotSupported", text.into());
    }
    Ok(instance.extensions.wrap(argv, layout))
}

/// As AWS does: V8 cannot see the limit from inside and would grow past it instead of collecting.
pub fn node_options(memory_mb: u32) -> [OsString; 2] {
    [
        format!("--max-old-space-size={}", (memory_mb * 9 / 10).max(64)).into(),
        format!("--max-semi-space-size={}", (memory_mb / 20).clamp(1, 64)).into(),
    ]
}

/// The machine's own: no place from which it could tell its memory is seen inside. The shares are AWS's; a collector with one
/// thread and the quick compiler alone start fastest. The function's `JAVA_TOOL_OPTIONS` come on top.
pub fn java_options(feature: u32, memory_mb: u32) -> Vec<OsString> {
    let kib = u64::from(memory_mb) * 1024;
    let mut options = vec![
        format!("-XX:MaxHeapSize={}k", kib * 80 / 100),
        format!("-XX:MaxMetaspaceSize={}k", (kib / 10).max(32 * 1024)),
        format!("-XX:ReservedCodeCacheSize={}k", (kib / 20).max(16 * 1024)),
    ];
    options.extend(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"].map(Into::into));
    if feature < 25 {
        // Writes files for tools that are not there; newer ones see that by themselves.
        options.push("-XX:-UsePerfData".into());
    }
    options.into_iter().map(Into::into).collect()
}

/// What a custom runtime sees in place of the host's programs and libraries.
fn provided_root(engine: &Engine, found: &Found) -> Vec<Mount> {
    let Some(root) = engine.options.provided_root.as_ref().filter(|_| found.family == Family::Provided) else {
        return Vec::new();
    };
    const PARTS: [&str; 5] = ["usr", "etc/ld.so.cache", "etc/pki", "etc/ssl", "etc/alternatives"];
    let parts = PARTS.iter().filter(|part| root.join(part).exists());
    parts.map(|part| Mount { host: root.join(part), inside: Path::new("/").join(part) }).collect()
}

/// The program of a custom runtime: in the package, else in a layer.
fn bootstrap(function: &Function, layout: &Layout) -> Result<OsString, StartError> {
    use std::os::unix::fs::PermissionsExt;
    let invalid = |text: String| {
        let failure = logline::Failure { kind: "Runtime.InvalidEntrypoint".into(), message: text };
        StartError::Function { kind: failure.kind.clone(), payload: failure.payload().into() }
    };
    let places = [(Some(&function.code_dir), &layout.task), (function.opt_dir.as_ref(), &layout.opt)];
    for (host, inside) in places {
        let Some(Ok(meta)) = host.map(|h| std::fs::metadata(h.join("bootstrap"))) else { continue };
        if meta.permissions().mode() & 0o111 == 0 {
            return Err(invalid(format!("fork/exec {inside}/bootstrap: permission denied")));
        }
        return Ok(format!("{inside}/bootstrap").into());
    }
    Err(invalid("Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]".into()))
}

/// `AWS_LAMBDA_EXEC_WRAPPER`: the runtime is started by the function's own program.
fn wrap(
    argv: &mut Vec<OsString>,
    function: &Function,
    layout: &Layout,
    found: &Found,
    wrapper: &str,
) -> Result<(), StartError> {
    if found.family == Family::Provided {
        return Ok(());
    }
    let host = |prefix: &str, folder: &Path| wrapper.strip_prefix(prefix).map(|rest| folder.join(rest));
    let on_host = host("/var/task/", &function.code_dir)
        .or_else(|| function.opt_dir.as_deref().and_then(|opt| host("/opt/", opt)));
    if !on_host.is_some_and(|path| path.is_file()) {
        // What the shell that starts the runtime on AWS says of a missing program.
        return Err(StartError::Exit(Exit { code: Some(127), ..Exit::default() }));
    }
    let inside = wrapper.replacen("/var/task/", &format!("{}/", layout.task), 1).replacen(
        "/opt/",
        &format!("{}/", layout.opt),
        1,
    );
    argv.insert(0, inside.into());
    Ok(())
}

/// The environment: AWS's variables, then the function's own.
fn variables(
    instance: &Instance,
    found: &Found,
    layout: &Layout,
    session: &SessionCredentials,
) -> Vec<(OsString, OsString)> {
    let function = &instance.function;
    let Layout { task, runtime, .. } = layout;
    let mut env: Vec<(String, String)> = Vec::with_capacity(48 + function.env.len());
    let mut set = |name: &str, value: String| env.push((name.to_owned(), value));
    set("AWS_LAMBDA_FUNCTION_NAME", function.name.clone());
    set("AWS_LAMBDA_FUNCTION_VERSION", function.version.clone());
    set("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", function.memory_mb.to_string());
    set("AWS_LAMBDA_LOG_GROUP_NAME", function.log_group.clone());
    set("AWS_LAMBDA_LOG_STREAM_NAME", instance.output.stream().to_owned());
    set("AWS_LAMBDA_INITIALIZATION_TYPE", instance.initialization().into());
    if let Some(levels) = &function.json_log {
        set("AWS_LAMBDA_LOG_FORMAT", "JSON".into());
        set("AWS_LAMBDA_LOG_LEVEL", levels.application.clone());
    }
    set("AWS_LAMBDA_RUNTIME_API", RUNTIME_API.into());
    cloud(&function.region).into_iter().for_each(|(name, value)| set(name, value));
    if let Some(own) = instance.snapshot.variables(session) {
        own.into_iter().for_each(|(name, value)| set(name, value));
    } else {
        set("AWS_ACCESS_KEY_ID", session.access_key_id.clone());
        set("AWS_SECRET_ACCESS_KEY", session.secret_access_key.clone());
        set("AWS_SESSION_TOKEN", session.session_token.clone());
    }
    set("AWS_XRAY_CONTEXT_MISSING", "LOG_ERROR".into());
    // Nothing listens there: the X-Ray SDKs send by UDP and lose the segments in silence.
    set("AWS_XRAY_DAEMON_ADDRESS", "127.0.0.1:2000".into());
    set("_AWS_XRAY_DAEMON_ADDRESS", "127.0.0.1".into());
    set("_AWS_XRAY_DAEMON_PORT", "2000".into());
    set("_HANDLER", function.handler.clone());
    set("LAMBDA_TASK_ROOT", task.clone());
    set("LAMBDA_RUNTIME_DIR", runtime.clone());
    set("PWD", task.clone());
    env.extend(shared(found, layout).into_iter().map(|(name, value)| (name.to_owned(), value)));
    for (name, value) in &function.env {
        env.retain(|(n, _)| n != name);
        env.push((name.clone(), value.clone()));
    }
    env.into_iter().map(|(k, v)| (k.into(), v.into())).collect()
}

/// Where the cloud is, for SDKs.
pub fn cloud(region: &str) -> [(&'static str, String); 3] {
    let region = region.to_owned();
    [("AWS_ENDPOINT_URL", format!("http://{ENDPOINT}")), ("AWS_REGION", region.clone()), ("AWS_DEFAULT_REGION", region)]
}

/// The variables that every function of a runtime has, and its zygote as well.
pub fn shared(found: &Found, layout: &Layout) -> Vec<(&'static str, String)> {
    let Layout { task, opt, runtime, .. } = layout;
    let lang = found.prefix_inside.as_deref().unwrap_or("/var/lang");
    let mut env: Vec<(&'static str, String)> = Vec::with_capacity(8);
    let mut set = |name, value: String| env.push((name, value));
    set("LANG", locale().into());
    set("TZ", ":UTC".into());
    let libraries = format!("/lib64:/usr/lib64:{runtime}:{runtime}/lib:{task}:{task}/lib:{opt}/lib");
    match found.family {
        Family::Provided => {
            set("PATH", format!("/usr/local/bin:/usr/bin/:/bin:{opt}/bin"));
            set("LD_LIBRARY_PATH", libraries);
        }
        _ => {
            set("AWS_EXECUTION_ENV", format!("AWS_Lambda_{}", found.id));
            set("PATH", format!("{lang}/bin:/usr/local/bin:/usr/bin/:/bin:{opt}/bin"));
            set("LD_LIBRARY_PATH", format!("{lang}/lib:{libraries}"));
        }
    }
    match found.family {
        Family::Node(major) => {
            let own = format!("{opt}/nodejs/node{major}/node_modules:{opt}/nodejs/node_modules");
            // On the host's own paths the runtime's folder has no link that leads to the SDK.
            let sdk = layout.sdk.as_ref().filter(|sdk| *sdk != NODE_SDK_INSIDE).cloned();
            let sdk = sdk.unwrap_or_else(|| format!("{runtime}/node_modules"));
            set("NODE_PATH", format!("{own}:{sdk}:{runtime}:{task}"));
        }
        Family::Python(_) => set("PYTHONPATH", runtime.clone()),
        Family::Ruby(_) => set("RUBYLIB", format!("{task}:{runtime}/lib:{opt}/ruby/lib")),
        Family::Java(_) | Family::Provided | Family::Wasm => {}
    }
    env
}

/// AWS's locale where the host has it; the C library's own UTF-8 locale otherwise.
fn locale() -> &'static str {
    static LOCALE: std::sync::OnceLock<&'static str> = std::sync::OnceLock::new();
    LOCALE.get_or_init(|| {
        let has =
            Path::new("/usr/lib/locale/en_US.utf8").exists() || Path::new("/usr/lib/locale/locale-archive").exists();
        if has { "en_US.UTF-8" } else { "C.UTF-8" }
    })
}
