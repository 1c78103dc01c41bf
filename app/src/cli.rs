//! The command line.

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// The serverless cloud that you own: functions, HTTP APIs, tables, logs and identities behind the AWS protocols.
#[derive(Debug, Parser)]
#[command(name = "squall", version, propagate_version = true, max_term_width = 110)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the cloud in the foreground.
    Up(UpArgs),
    /// Print the environment for AWS clients: eval "$(squall env)".
    Env(EnvArgs),
    /// Deploy a serverless.yml.
    Deploy(Deploy),
    /// Call a function and print its answer.
    Invoke(Invoke),
    /// Print a function's log.
    Logs(Logs),
    /// List stacks, functions and endpoints.
    Ls(Ls),
    /// Print what functions used and what it costs by the price table of the cloud.
    Cost(Cost),
    /// Remove a stack and everything in it.
    Rm(Rm),
    /// Tell what this machine offers and what to do about what is missing.
    Doctor(Doctor),
    /// Start a cloud, deploy an example and print curl lines.
    Demo(Demo),
    /// Write a backup of a running cloud to a file.
    Backup(Backup),
    /// Make a data directory from a backup.
    Restore(Restore),
    /// Write a whole cloud to a file that any state engine takes in; the cloud goes on serving.
    Export(Export),
    /// Fill an empty cloud from an export, before its server starts.
    Import(Import),
}

/// `up`.
#[derive(Args, Debug)]
pub struct UpArgs {
    /// Take this export in first; the state must be empty.
    #[arg(long, value_name = "FILE")]
    pub import: Option<PathBuf>,
    /// Settings.
    #[command(flatten)]
    pub up: Up,
}

/// Settings of `up`; each may also come from SQUALL_* variables or squall.toml, in this order.
#[derive(Args, Clone, Debug, Default)]
pub struct Up {
    /// Data directory [default: $XDG_DATA_HOME/squall, else ~/.local/share/squall].
    #[arg(long, env = "SQUALL_DATA")]
    pub data: Option<PathBuf>,
    /// Address to listen on; port 0 takes a free one [default: 127.0.0.1:4566].
    #[arg(long, env = "SQUALL_LISTEN")]
    pub listen: Option<String>,
    /// State engine: sqlite, memory or postgres://USER:PASSWORD@HOST:PORT/DATABASE [default: sqlite].
    #[arg(long, env = "SQUALL_STATE")]
    pub state: Option<String>,
    /// Bucket for objects, s3://BUCKET/PREFIX; more settings in squall.toml [default: files in the data directory].
    #[arg(long, env = "SQUALL_OBJECTS", value_name = "URL")]
    pub objects: Option<String>,
    /// Account number, twelve digits [default: 000000000000].
    #[arg(long, env = "SQUALL_ACCOUNT")]
    pub account: Option<String>,
    /// Regions that answer, separated by commas; the first is the default [default: us-east-1].
    #[arg(long, env = "SQUALL_REGION")]
    pub region: Option<String>,
    /// Accept any credentials as root. Loopback addresses only.
    #[arg(long, env = "SQUALL_DEV")]
    pub dev: bool,
    /// Domain of deployed APIs besides localhost.
    #[arg(long, env = "SQUALL_DOMAIN")]
    pub domain: Option<String>,
    /// Isolation of functions: full, namespaces (no resource limits) or none (plain processes) [default: full].
    #[arg(long, env = "SQUALL_ISOLATION")]
    pub isolation: Option<String>,
    /// Folder with the SDKs for functions, instead of the package registries.
    #[arg(long, env = "SQUALL_SDK_DIR")]
    pub sdk_dir: Option<PathBuf>,
    /// Configuration file [default: ./squall.toml if it exists].
    #[arg(long, env = "SQUALL_CONFIG")]
    pub config: Option<PathBuf>,
}

/// Where a client command finds the cloud.
#[derive(Args, Clone, Debug, Default)]
pub struct Connect {
    /// The cloud's URL [default: AWS_ENDPOINT_URL, else what the data directory says].
    #[arg(long)]
    pub endpoint: Option<String>,
    /// Data directory of a cloud on this machine.
    #[arg(long, env = "SQUALL_DATA")]
    pub data: Option<PathBuf>,
    /// Region [default: AWS_REGION, AWS_DEFAULT_REGION, else us-east-1].
    #[arg(long)]
    pub region: Option<String>,
}

/// `env`.
#[derive(Args, Debug)]
pub struct EnvArgs {
    /// Data directory of the cloud.
    #[arg(long, env = "SQUALL_DATA")]
    pub data: Option<PathBuf>,
    /// Print JSON instead of export lines.
    #[arg(long)]
    pub json: bool,
}

/// `deploy`.
#[derive(Args, Debug)]
pub struct Deploy {
    /// Folder with a serverless.yml, or the file itself.
    #[arg(default_value = ".")]
    pub path: PathBuf,
    /// Stage [default: the file's, else dev].
    #[arg(long, short)]
    pub stage: Option<String>,
    /// Parameters for ${opt:NAME}, as NAME=VALUE.
    #[arg(long = "param", value_name = "NAME=VALUE")]
    pub params: Vec<String>,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
    /// Where the cloud is.
    #[command(flatten)]
    pub connect: Connect,
}

/// `invoke`.
#[derive(Args, Debug)]
pub struct Invoke {
    /// Function name or ARN.
    pub name: String,
    /// Event: JSON, or @FILE.
    #[arg(long, short, default_value = "{}")]
    pub payload: String,
    /// Print the function's log of this call to stderr.
    #[arg(long)]
    pub log: bool,
    /// Print status, error kind, log and payload as one JSON object.
    #[arg(long)]
    pub json: bool,
    /// Where the cloud is.
    #[command(flatten)]
    pub connect: Connect,
}

/// `logs`.
#[derive(Args, Debug)]
pub struct Logs {
    /// Function name.
    pub name: String,
    /// Go on printing as lines come.
    #[arg(short, long)]
    pub follow: bool,
    /// Print one JSON object per line.
    #[arg(long)]
    pub json: bool,
    /// Where the cloud is.
    #[command(flatten)]
    pub connect: Connect,
}

/// `ls`.
#[derive(Args, Debug)]
pub struct Ls {
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Where the cloud is.
    #[command(flatten)]
    pub connect: Connect,
}

/// `cost`.
#[derive(Args, Debug)]
pub struct Cost {
    /// First day, as 2026-01-31 (UTC) [default: the first of this month].
    #[arg(long)]
    pub from: Option<String>,
    /// Last day, included [default: today].
    #[arg(long)]
    pub to: Option<String>,
    /// A line per `function` or per `day`.
    #[arg(long, default_value = "function")]
    pub by: String,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Where the cloud is.
    #[command(flatten)]
    pub connect: Connect,
}

/// `rm`.
#[derive(Args, Debug)]
pub struct Rm {
    /// Stack: SERVICE-STAGE.
    pub stack: String,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
    /// Where the cloud is.
    #[command(flatten)]
    pub connect: Connect,
}

/// `doctor`.
#[derive(Args, Debug)]
pub struct Doctor {
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Settings that the cloud would run with.
    #[command(flatten)]
    pub up: Up,
}

/// `demo`.
#[derive(Args, Debug)]
pub struct Demo {
    /// Address to listen on; without it 127.0.0.1:4566, or a free port where that one is taken.
    #[arg(long, env = "SQUALL_LISTEN")]
    pub listen: Option<String>,
    /// Data directory [default: a temporary one, removed at the end].
    #[arg(long, env = "SQUALL_DATA")]
    pub data: Option<PathBuf>,
    /// Example: node or python [default: what this machine has].
    #[arg(long)]
    pub language: Option<String>,
    /// Isolation of functions, as in `up`.
    #[arg(long, env = "SQUALL_ISOLATION")]
    pub isolation: Option<String>,
    /// Folder with the SDKs for functions, as in `up`.
    #[arg(long, env = "SQUALL_SDK_DIR")]
    pub sdk_dir: Option<PathBuf>,
    /// Print endpoints as JSON.
    #[arg(long)]
    pub json: bool,
}

/// `backup`.
#[derive(Args, Debug)]
pub struct Backup {
    /// File to write; it must not exist.
    pub file: PathBuf,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
    /// Where the cloud is.
    #[command(flatten)]
    pub connect: Connect,
}

/// `restore`.
#[derive(Args, Debug)]
pub struct Restore {
    /// Backup file.
    pub file: PathBuf,
    /// Data directory to make; it must be empty or absent.
    #[arg(long, env = "SQUALL_DATA")]
    pub data: Option<PathBuf>,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}

/// `export`.
#[derive(Args, Debug)]
pub struct Export {
    /// File to write; it must not exist.
    pub file: PathBuf,
    /// Export a cloud whose server does not run, from its data directory and state engine.
    #[arg(long)]
    pub stopped: bool,
    /// State engine of a stopped cloud, as in `up`.
    #[arg(long, requires = "stopped", value_name = "STATE")]
    pub state: Option<String>,
    /// Bucket for objects of a stopped cloud, as in `up`.
    #[arg(long, requires = "stopped", value_name = "URL")]
    pub objects: Option<String>,
    /// Account number of a stopped cloud, as in `up`.
    #[arg(long, requires = "stopped")]
    pub account: Option<String>,
    /// Configuration file of a stopped cloud, as in `up`.
    #[arg(long, requires = "stopped")]
    pub config: Option<PathBuf>,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
    /// Where the cloud is.
    #[command(flatten)]
    pub connect: Connect,
}

/// `import`.
#[derive(Args, Debug)]
pub struct Import {
    /// Export file.
    pub file: PathBuf,
    /// Only read the file through and tell what it holds.
    #[arg(long, conflicts_with_all = ["verify", "replace"])]
    pub check: bool,
    /// Only compare the file with what a stopped cloud holds.
    #[arg(long, conflicts_with = "replace")]
    pub verify: bool,
    /// Set a cloud aside that is in the data directory already; it is kept in DIR/replaced-N.
    #[arg(long)]
    pub replace: bool,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
    /// The target, with the settings that its server will have.
    #[command(flatten)]
    pub up: Up,
}
