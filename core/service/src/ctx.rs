//! Who asks, where and when; and what every room is built from.

use squall_store::State;
use squall_store::objects::Objects;
use squall_types::{AccountId, Arn, Clock, Millis, Random, Region};
use std::net::IpAddr;
use std::sync::Arc;

/// The circumstances of one request, after authentication.
#[derive(Clone, Debug)]
pub struct Ctx {
    /// The cloud's account.
    pub account: AccountId,
    /// Region of the request's credential scope.
    pub region: Region,
    /// Who asks.
    pub principal: Principal,
    /// The request's id, a UUID; in every answer and log line.
    pub request_id: String,
    /// When the request arrived.
    pub time: Millis,
    /// Address of the caller.
    pub source_ip: IpAddr,
    /// The `User-Agent` header, empty when there is none.
    pub user_agent: String,
    /// The request's `Host` header, for answers that name this server (function URLs, API endpoints).
    pub host: String,
    /// The `X-Amzn-Trace-Id` header as sent.
    pub trace_header: Option<String>,
}

impl Ctx {
    /// An ARN in this account and region.
    #[must_use]
    pub fn arn(&self, service: &str, resource: &str) -> String {
        Arn::new(service, self.region.as_str(), self.account.as_str(), resource).to_string()
    }
}

/// An authenticated caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// The account's root: every policy check passes.
    Root {
        /// Account.
        account: String,
    },
    /// An IAM user.
    User {
        /// `arn:aws:iam::ACCOUNT:user/PATH/NAME`.
        arn: String,
        /// Name without path.
        name: String,
        /// Unique id, `AIDA…`.
        id: String,
    },
    /// A session of a role.
    Session {
        /// `arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION`.
        arn: String,
        /// `arn:aws:iam::ACCOUNT:role/PATH/ROLE`.
        role_arn: String,
        /// `AROA…:SESSION`.
        user_id: String,
        /// Session policy given to AssumeRole as JSON, if any: it can only narrow.
        policy: Option<String>,
    },
    /// A service of this cloud acting by itself, such as `apigateway.amazonaws.com`.
    Service {
        /// Service principal.
        name: String,
    },
    /// Nobody: the request carried no signature and the operation needs none.
    Anonymous,
}

impl Principal {
    /// The principal's ARN as policies and `GetCallerIdentity` name it; the service's name or `anonymous` where there is none.
    #[must_use]
    pub fn arn(&self) -> String {
        match self {
            Principal::Root { account } => format!("arn:aws:iam::{account}:root"),
            Principal::User { arn, .. } | Principal::Session { arn, .. } => arn.clone(),
            Principal::Service { name } => name.clone(),
            Principal::Anonymous => "anonymous".into(),
        }
    }
}

/// What every room is built from. Cheap to clone.
#[derive(Clone)]
pub struct Deps {
    /// The state engine.
    pub state: Arc<dyn State>,
    /// Large bytes beside the state.
    pub objects: Arc<dyn Objects>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The random source.
    pub random: Arc<dyn Random>,
    /// The cloud's account.
    pub account: AccountId,
    /// The region that background work without a request runs in (the first enabled one).
    pub region: Region,
}
