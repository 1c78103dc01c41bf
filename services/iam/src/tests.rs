//! Tests of the rooms: every call goes through the rooms as the gateway would send it, on state in memory.

mod decisions;
mod hostile;
mod keys;
mod policies;
mod restart;
mod roles;
mod sessions;

use crate::Iam;
use squall_engine_files::MemoryObjects;
use squall_protocol::{FromValue, IntoValue, ServiceError};
use squall_service::{Access, AccessDenied, Ctx, Deps, Identity as _, Principal};
use squall_types::{AccountId, Clock, ManualClock, Millis, Region, SystemRandom};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

const ACCOUNT: &str = "000000000000";
/// 2026-01-02T03:04:05Z.
const START: Millis = Millis(1_767_323_045_000);
const TRUST_LAMBDA: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;
const TRUST_ACCOUNT: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"000000000000"},"Action":"sts:AssumeRole"}]}"#;

struct Cloud {
    iam: Arc<Iam>,
    deps: Deps,
    clock: Arc<ManualClock>,
}

impl Cloud {
    async fn new() -> Self {
        let clock = Arc::new(ManualClock::new(START));
        let deps = Deps {
            state: squall_testkit_state::state(clock.clone()),
            objects: Arc::new(MemoryObjects::default()),
            clock: clock.clone(),
            random: Arc::new(SystemRandom),
            account: AccountId::parse(ACCOUNT).expect("twelve digits"),
            region: Region::parse("us-east-1").expect("a region"),
        };
        let iam = Iam::open(deps.clone()).await.expect("opens");
        Self { iam, deps, clock }
    }

    /// The same cloud after a restart on the same state.
    async fn reopened(self) -> Self {
        let iam = Iam::open(self.deps.clone()).await.expect("opens again");
        Self { iam, ..self }
    }

    fn ctx(&self, principal: Principal) -> Ctx {
        Ctx {
            account: self.deps.account.clone(),
            region: self.deps.region.clone(),
            principal,
            request_id: "00000000-0000-4000-8000-000000000000".into(),
            time: self.clock.now(),
            source_ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            user_agent: "tests".into(),
            host: "localhost".into(),
            trace_header: None,
        }
    }

    /// Calls as the root.
    async fn call<O: FromValue>(&self, op: &str, input: impl IntoValue) -> Result<O, ServiceError> {
        self.call_as(root(), op, input).await
    }

    /// Calls an operation of either room: authorised, checked and dispatched as by the gateway.
    async fn call_as<O: FromValue>(
        &self,
        principal: Principal,
        op: &str,
        input: impl IntoValue,
    ) -> Result<O, ServiceError> {
        let rooms = self.iam.rooms();
        let found = rooms.iter().find_map(|room| Some((room, room.service().operation(op)?)));
        let (room, op) = found.expect("an operation of iam or sts");
        let (ctx, input) = (self.ctx(principal), input.into_value());
        if !room.validates_itself(op) {
            let checked = squall_protocol::constraint::check(room.service(), op.input.expect("an input"), &input);
            checked.map_err(|text| ServiceError::client("ValidationError", 400, text))?;
        }
        let accesses = room.access(&ctx, op, &input);
        let decision = self.iam.authorise(&ctx, &accesses, &vec![None; accesses.len()]).await;
        decision.map_err(|denied| ServiceError::client("AccessDenied", 403, denied.message))?;
        let output = room.call(&ctx, op, input).await?;
        Ok(O::from_value(output).expect("the output's shape"))
    }

    /// Expects the operation to be refused and gives code, status and text.
    async fn refused<O: FromValue>(&self, op: &str, input: impl IntoValue) -> (&'static str, u16, String) {
        refusal(self.call::<O>(op, input).await)
    }

    async fn role(&self, name: &str, trust: &str) -> String {
        use crate::api::iam::{CreateRoleInput, CreateRoleOutput};
        let (role_name, assume_role_policy_document) = (name.to_owned(), trust.to_owned());
        let input = CreateRoleInput { role_name, assume_role_policy_document, ..Default::default() };
        let made: CreateRoleOutput = self.call("CreateRole", input).await.expect("made");
        made.role.arn
    }

    async fn user(&self, name: &str) -> Principal {
        use crate::api::iam::{CreateUserInput, CreateUserOutput};
        let input = CreateUserInput { user_name: name.to_owned(), ..Default::default() };
        let made: CreateUserOutput = self.call("CreateUser", input).await.expect("made");
        let made = made.user.expect("a user");
        Principal::User { arn: made.arn, name: made.user_name, id: made.user_id }
    }

    /// Gives a user an inline policy with one statement.
    async fn grant(&self, user: &str, policy: &str, statement: &str) {
        use crate::api::iam::{PutUserPolicyInput, PutUserPolicyOutput};
        let input = PutUserPolicyInput {
            user_name: user.to_owned(),
            policy_name: policy.to_owned(),
            policy_document: document(statement),
        };
        let _: PutUserPolicyOutput = self.call("PutUserPolicy", input).await.expect("put");
    }

    async fn may(&self, principal: &Principal, action: &str, resource: &str) -> Result<(), AccessDenied> {
        self.may_with(principal, Access::new(action, resource), None).await
    }

    async fn may_with(
        &self,
        principal: &Principal,
        access: Access,
        resource_policy: Option<&str>,
    ) -> Result<(), AccessDenied> {
        let policies = [resource_policy.map(str::to_owned)];
        self.iam.authorise(&self.ctx(principal.clone()), &[access], &policies).await
    }

    fn pass(&self, secs: u64) {
        self.clock.advance(Duration::from_secs(secs));
    }
}

fn root() -> Principal {
    Principal::Root { account: ACCOUNT.to_owned() }
}

fn document(statements: &str) -> String {
    format!(r#"{{"Version":"2012-10-17","Statement":[{statements}]}}"#)
}

fn allow(action: &str, resource: &str) -> String {
    document(&allowed(action, resource))
}

fn allowed(action: &str, resource: &str) -> String {
    format!(r#"{{"Effect":"Allow","Action":"{action}","Resource":"{resource}"}}"#)
}

fn refusal<O>(answer: Result<O, ServiceError>) -> (&'static str, u16, String) {
    match answer {
        Ok(_) => panic!("the call was expected to be refused"),
        Err(error) => (error.code, error.status, error.message),
    }
}

fn expect_refusal((code, status, text): (&'static str, u16, String), want: (&str, u16, &str)) {
    assert_eq!((code, status, text.as_str()), want);
}
