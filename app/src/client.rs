//! The client commands: arguments in, text or JSON out. What they do is in the deploy crate.

use crate::cli::{Backup, Connect, Deploy, EnvArgs, Invoke, Logs, Ls, Restore, Rm};
use crate::config::default_data;
use crate::credentials::{self, Local};
use crate::{backup, demo};
use anyhow::{Context, Result, bail};
use http_body_util::BodyExt as _;
use serde_json::json;
use squall_deploy::client::Client;
use squall_types::SystemClock;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

/// The function answered an error: the command worked, the function did not.
const FUNCTION_FAILED: u8 = 4;

/// A client of the cloud that the arguments or the environment name.
///
/// # Errors
/// No cloud is named.
pub fn connect(connect: &Connect) -> Result<Client> {
    Ok(Client::new(credentials::endpoint(connect)?, Arc::new(SystemClock))?)
}

/// Progress goes to stderr, so that stdout holds the result alone.
fn progress(text: &str) {
    eprintln!("  {text}");
}

fn print_json(value: &impl serde::Serialize) -> Result<()> {
    println!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}

/// `squall env`.
///
/// # Errors
/// No cloud in the data directory.
pub fn env(args: &EnvArgs) -> Result<ExitCode> {
    let data = match &args.data {
        Some(data) => data.clone(),
        None => default_data()?,
    };
    let local = Local::read(&data)?;
    if args.json {
        print_json(&json!({
            "AWS_ENDPOINT_URL": local.endpoint,
            "AWS_ACCESS_KEY_ID": local.access_key_id,
            "AWS_SECRET_ACCESS_KEY": local.secret_access_key,
            "AWS_REGION": local.region,
            "AWS_DEFAULT_REGION": local.region,
        }))?;
    } else {
        print!("{}", credentials::export_lines(&local));
    }
    Ok(ExitCode::SUCCESS)
}

/// `squall deploy`.
///
/// # Errors
/// The file is at fault, or the cloud refuses.
pub async fn deploy(args: Deploy) -> Result<ExitCode> {
    let client = connect(&args.connect)?;
    let mut params = BTreeMap::new();
    for param in &args.params {
        let (name, value) = param.split_once('=').with_context(|| format!("--param {param}: expected NAME=VALUE"))?;
        params.insert(name.to_owned(), value.to_owned());
    }
    let options = squall_deploy::Options {
        path: args.path,
        stage: args.stage,
        region: args.connect.region.clone(),
        params,
        env: std::env::vars().collect(),
    };
    let deployed = squall_deploy::run(&client, &options, &mut progress).await?;
    if args.json {
        print_json(&deployed)?;
    } else {
        eprintln!("deployed {}", deployed.stack);
        for (name, value) in &deployed.outputs {
            println!("{name}: {value}");
        }
        for endpoint in &deployed.endpoints {
            println!("{} {}", endpoint.method, endpoint.url);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// `squall invoke`. Exit code 4 says that the function failed.
///
/// # Errors
/// The payload cannot be read, or the cloud refuses.
pub async fn invoke(args: Invoke) -> Result<ExitCode> {
    let payload = match args.payload.strip_prefix('@') {
        Some(file) => std::fs::read(file).with_context(|| format!("read {file}"))?,
        None => args.payload.into_bytes(),
    };
    serde_json::from_slice::<serde::de::IgnoredAny>(&payload).context("--payload is not JSON")?;
    let client = connect(&args.connect)?;
    let invoked = squall_deploy::invoke(&client, &args.name, payload, args.log || args.json).await?;
    if args.json {
        print_json(&invoked)?;
    } else {
        if let (true, Some(log)) = (args.log, &invoked.log) {
            eprint!("{log}");
        }
        println!("{}", invoked.payload);
    }
    match &invoked.function_error {
        Some(kind) => {
            eprintln!("squall: the function failed ({kind})");
            Ok(ExitCode::from(FUNCTION_FAILED))
        }
        None => Ok(ExitCode::SUCCESS),
    }
}

/// `squall logs`.
///
/// # Errors
/// The cloud refuses.
pub async fn logs(args: Logs) -> Result<ExitCode> {
    let client = connect(&args.connect)?;
    let options = squall_deploy::LogOptions { is_following: args.follow, ..Default::default() };
    let as_json = args.json;
    let mut print = |line: &squall_deploy::LogLine| {
        let text = if as_json { serde_json::to_string(line).unwrap_or_default() } else { line.message.clone() };
        // A reader that has gone (`| head`) ends the command quietly.
        let mut out = std::io::stdout().lock();
        writeln!(out, "{text}").and_then(|()| out.flush()).is_ok()
    };
    squall_deploy::logs(&client, &args.name, &options, &mut print).await?;
    Ok(ExitCode::SUCCESS)
}

/// `squall ls`.
///
/// # Errors
/// The cloud refuses.
pub async fn ls(args: Ls) -> Result<ExitCode> {
    let listing = squall_deploy::list(&connect(&args.connect)?).await?;
    if args.json {
        print_json(&listing)?;
        return Ok(ExitCode::SUCCESS);
    }
    if listing.stacks.is_empty() && listing.functions.is_empty() {
        println!("nothing is deployed: try `squall deploy` in a folder with a serverless.yml, or `squall demo`");
    }
    for stack in &listing.stacks {
        println!("{}  {}  {}", stack.name, stack.region, stack.status);
        for table in &stack.tables {
            println!("  table {table}");
        }
        for endpoint in &stack.endpoints {
            println!("  {} {}", endpoint.method, endpoint.url);
        }
    }
    for f in &listing.functions {
        println!("function {}  {}  {} MB  {} s  {}", f.name, f.runtime, f.memory_mb, f.timeout_s, f.last_modified);
    }
    Ok(ExitCode::SUCCESS)
}

/// `squall rm`.
///
/// # Errors
/// No such stack, or the cloud refuses.
pub async fn rm(args: Rm) -> Result<ExitCode> {
    let removed = squall_deploy::remove(&connect(&args.connect)?, &args.stack, &mut progress).await?;
    if args.json {
        print_json(&removed)?;
    } else {
        println!("removed {}", removed.stack);
        for table in &removed.retained {
            println!("kept table {table} (DeletionPolicy: Retain)");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// `squall backup`.
///
/// # Errors
/// The file exists, the cloud refuses, or the connection breaks off (the file is removed then).
pub async fn backup(args: Backup) -> Result<ExitCode> {
    if args.file.exists() {
        bail!("{} exists: backups are never written over", args.file.display());
    }
    let endpoint = credentials::endpoint(&args.connect)?;
    let client = Client::new(endpoint, Arc::new(SystemClock))?;
    let done = download(&client, &args.file).await;
    if done.is_err() {
        let _ = std::fs::remove_file(&args.file);
    }
    let bytes = done?;
    if args.json {
        print_json(&json!({ "file": args.file, "bytes": bytes }))?;
    } else {
        println!("wrote {} ({bytes} bytes)", args.file.display());
    }
    Ok(ExitCode::SUCCESS)
}

async fn download(client: &Client, file: &Path) -> Result<u64> {
    let call = squall_deploy::client::Call {
        service: "squall",
        method: "POST",
        path: "/_squall/backup",
        ..Default::default()
    };
    let mut body = client.stream(call).await?;
    // It holds root's credentials.
    let mut options = std::fs::OpenOptions::new();
    std::os::unix::fs::OpenOptionsExt::mode(options.write(true).create_new(true), 0o600);
    let mut out = options.open(file).with_context(|| format!("write {}", file.display()))?;
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.context("the connection broke off: the backup is not whole")?;
        if let Some(chunk) = frame.data_ref() {
            out.write_all(chunk).with_context(|| format!("write {}", file.display()))?;
            bytes += chunk.len() as u64;
        }
    }
    out.sync_all()?;
    Ok(bytes)
}

/// `squall restore`.
///
/// # Errors
/// The file is no whole backup, or the directory is in use.
pub fn restore(args: Restore) -> Result<ExitCode> {
    let data = match args.data {
        Some(data) => std::path::absolute(data)?,
        None => default_data()?,
    };
    backup::restore(&args.file, &data)?;
    if args.json {
        print_json(&json!({ "data": data }))?;
    } else {
        println!("restored into {}: start it with `squall up --data {}`", data.display(), data.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// Deploys an example for the demo.
///
/// # Errors
/// As [`deploy`].
pub async fn deploy_example(local: &Local, dir: &Path, runtime: &str) -> Result<squall_deploy::Deployed> {
    let endpoint = squall_deploy::client::Endpoint {
        url: local.endpoint.clone(),
        access_key: local.access_key_id.clone(),
        secret: local.secret_access_key.clone(),
        session_token: None,
        region: local.region.clone(),
    };
    let client = Client::new(endpoint, Arc::new(SystemClock))?;
    let options = squall_deploy::Options {
        path: dir.to_owned(),
        stage: None,
        region: None,
        params: BTreeMap::from([(demo::RUNTIME_PARAM.to_owned(), runtime.to_owned())]),
        env: BTreeMap::new(),
    };
    Ok(squall_deploy::run(&client, &options, &mut progress).await?)
}
