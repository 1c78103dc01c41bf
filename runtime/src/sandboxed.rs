//! The sandbox as a launcher.
//!
//! At level none there is no network namespace, so the addresses differ from worker to worker and must be put into its
//! environment after the ports are known: that is what [`ProcessLauncher`] does.

use crate::launch::{Exit, LaunchError, Launcher, Mount, Spec, Started, Worker, Zygote, ZygoteSpec};
use crate::process::ProcessLauncher;
use async_trait::async_trait;
use squall_sandbox::{Control, Level, Sandbox, Start};
use std::io;

#[async_trait]
impl Launcher for Sandbox {
    async fn spawn(&self, spec: Spec) -> Result<Started, LaunchError> {
        if self.level() == Level::None {
            return ProcessLauncher.spawn(spec).await;
        }
        let spec = squall_sandbox::Spec {
            id: spec.id,
            argv: spec.argv,
            env: spec.env,
            code: spec.code,
            opt: spec.opt,
            mounts: mounts(spec.mounts),
            memory_bytes: spec.memory_bytes,
            tmp_bytes: spec.tmp_bytes,
            pids_max: spec.pids_max,
            cpu_shares: spec.cpu_shares,
            cpu_quota_percent: spec.cpu_quota_percent,
            start: spec.zygote.map_or(Start::Execute, Start::Fork),
        };
        let worker = Sandbox::spawn(self, spec).await.map_err(|e| LaunchError(e.to_string()))?;
        Ok(Started {
            worker: Box::new(worker.control),
            runtime_api: worker.runtime_api,
            endpoint: worker.endpoint,
            output: worker.output,
            egress: worker.egress,
        })
    }

    async fn start_zygote(&self, spec: ZygoteSpec) -> Result<Box<dyn Zygote>, LaunchError> {
        let ZygoteSpec { id, argv, env, mounts: folders, keeps_descriptors, is_stem } = spec;
        let spec = squall_sandbox::ZygoteSpec { id, argv, env, mounts: mounts(folders), keeps_descriptors, is_stem };
        match Sandbox::start_zygote(self, spec).await {
            Ok(zygote) => Ok(Box::new(zygote)),
            Err(e) => Err(LaunchError(e.to_string())),
        }
    }

    fn aim(&self, count: usize) {
        Sandbox::aim(self, count);
    }

    fn is_on_host_paths(&self) -> bool {
        self.level() == Level::None
    }
}

fn mounts(list: Vec<Mount>) -> Vec<squall_sandbox::Mount> {
    list.into_iter().map(|m| squall_sandbox::Mount { host: m.host, inside: m.inside }).collect()
}

#[async_trait]
impl Zygote for squall_sandbox::Zygote {
    fn number(&self) -> u64 {
        squall_sandbox::Zygote::number(self)
    }

    fn text(&self) -> &str {
        squall_sandbox::Zygote::text(self)
    }

    fn is_alive(&self) -> bool {
        squall_sandbox::Zygote::is_alive(self)
    }

    fn stock(&self, count: usize) {
        squall_sandbox::Zygote::stock(self, count);
    }

    async fn gone(&self) -> String {
        squall_sandbox::Zygote::gone(self).await
    }
}

#[async_trait]
impl Worker for Control {
    async fn wait(&self) -> Exit {
        let exit = Control::wait(self).await;
        Exit { code: exit.code, signal: exit.signal, oom: exit.oom }
    }

    fn kill(&self) {
        Control::kill(self);
    }

    fn freeze(&self) -> io::Result<()> {
        Control::freeze(self).map_err(io::Error::other)
    }

    fn thaw(&self) -> io::Result<()> {
        Control::thaw(self).map_err(io::Error::other)
    }

    fn memory_peak_bytes(&self) -> u64 {
        Control::memory_peak_bytes(self)
    }

    fn oom_killed(&self) -> bool {
        Control::oom_killed(self)
    }
}
