//! The rooms themselves: what they hold, and how the gateway sees them.

use crate::api::{iam as iam_api, sts as sts_api};
use crate::decide::Compiler;
use crate::error::Error;
use crate::identity::Opened;
use crate::model::Root;
use crate::registry::{self, Registry};
use crate::session::Sealer;
use crate::{access, names, ops, rules, tables};
use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use iam_api::*;
use parking_lot::RwLock;
use squall_protocol::{Operation, Service, ServiceError, Value, constraint};
use squall_service::{Access, BodyLimit, Ctx, Deps, Room};
use squall_store::{Check, StateExt as _, Txn};
use squall_types::Millis;
use std::collections::HashMap;
use std::sync::Arc;

/// The iam and sts rooms, and the cloud's [`squall_service::Identity`].
pub struct Iam {
    pub(crate) deps: Deps,
    pub(crate) registry: Registry,
    pub(crate) root: Root,
    pub(crate) sealer: Sealer,
    pub(crate) compiler: Compiler,
    pub(crate) sessions: RwLock<HashMap<String, Arc<Opened>>>,
}

impl Iam {
    /// Opens the rooms; on a new state the root's credentials and the sealing key are made.
    ///
    /// # Errors
    /// The state cannot be read or written.
    pub async fn open(deps: Deps) -> Result<Arc<Self>, Error> {
        let root = root(&deps).await?;
        let registry = Registry::load(deps.state.clone(), deps.account.as_str()).await?;
        let sealer = Sealer::new(&root.sealing_key)?;
        let (compiler, sessions) = (Compiler::default(), RwLock::default());
        Ok(Arc::new(Self { deps, registry, root, sealer, compiler, sessions }))
    }

    /// The root's access key id and secret.
    #[must_use]
    pub fn root_credentials(&self) -> (String, String) {
        (self.root.access_key_id.clone(), self.root.secret.clone())
    }

    /// The iam room and the sts room.
    #[must_use]
    pub fn rooms(self: &Arc<Self>) -> Vec<Arc<dyn Room>> {
        vec![Arc::new(IamRoom(self.clone())), Arc::new(StsRoom(self.clone()))]
    }

    /// Now in whole seconds: IAM's dates have no fraction.
    pub(crate) fn now_secs(&self) -> Millis {
        Millis(self.deps.clock.now().secs() * 1000)
    }
}

/// The root's row, made once per cloud; of two nodes that begin at the same time one wins.
async fn root(deps: &Deps) -> Result<Root, Error> {
    let key = tables::root();
    if let Some(row) = deps.state.get(key.clone()).await? {
        return registry::decode(&row.value);
    }
    let mut sealing_key = [0; 32];
    deps.random.fill(&mut sealing_key);
    let made = Root {
        access_key_id: names::key_id(deps.random.as_ref(), "AKIA"),
        secret: names::secret(deps.random.as_ref()),
        sealing_key: STANDARD.encode(sealing_key),
        created: Millis(deps.clock.now().secs() * 1000),
    };
    let txn = Txn::new().check(Check::Absent(key.clone())).put(key.clone(), registry::encode(&made)?);
    match deps.state.commit(txn).await {
        Ok(_) => Ok(made),
        Err(squall_store::Error::Check(_)) => match deps.state.get(key).await? {
            Some(row) => registry::decode(&row.value),
            None => Err(Error::Concurrent),
        },
        Err(error) => Err(error.into()),
    }
}

fn too_large() -> ServiceError {
    ServiceError::client("RequestEntityTooLarge", 413, "Request must be smaller than 1048576 bytes")
}

const BODY_LIMIT: BodyLimit = BodyLimit { bytes_max: 1 << 20, error: too_large };

struct IamRoom(Arc<Iam>);

#[async_trait]
impl Room for IamRoom {
    fn service(&self) -> &'static Service {
        &iam_api::SERVICE
    }

    fn access(&self, ctx: &Ctx, op: &'static Operation, input: &Value) -> Vec<Access> {
        let mut accesses = access::iam(&self.0.registry, ctx, op, input);
        access::add_resource_keys(&self.0.registry, &mut accesses);
        accesses
    }

    async fn call(&self, ctx: &Ctx, op: &'static Operation, input: Value) -> Result<Value, ServiceError> {
        check(op, &input)?;
        iam_api::dispatch(self, ctx, op, input).await
    }

    fn body_limit(&self, _op: Option<&'static Operation>) -> BodyLimit {
        BODY_LIMIT
    }

    /// IAM has words of its own for names with wrong characters.
    fn validates_itself(&self, _op: &'static Operation) -> bool {
        true
    }
}

fn check(op: &'static Operation, input: &Value) -> Result<(), Error> {
    let Some(shape) = op.input else { return Ok(()) };
    for member in shape.members() {
        let wrong = input.text(shape, member.name).and_then(|text| rules::wrong_characters(member.name, text));
        if let Some(text) = wrong {
            return Err(Error::Validation(text));
        }
    }
    constraint::check(&iam_api::SERVICE, shape, input).map_err(Error::Validation)
}

struct StsRoom(Arc<Iam>);

#[async_trait]
impl Room for StsRoom {
    fn service(&self) -> &'static Service {
        &sts_api::SERVICE
    }

    fn access(&self, _ctx: &Ctx, op: &'static Operation, _input: &Value) -> Vec<Access> {
        access::sts(op)
    }

    async fn call(&self, ctx: &Ctx, op: &'static Operation, input: Value) -> Result<Value, ServiceError> {
        sts_api::dispatch(self, ctx, op, input).await
    }

    fn body_limit(&self, _op: Option<&'static Operation>) -> BodyLimit {
        BODY_LIMIT
    }
}

/// Forwards each operation to its function under `ops/`.
macro_rules! forward {
    ($room:ident as $api:path; $($op:ident($input:ty) -> $output:ty = $module:ident;)*) => {
        #[async_trait]
        impl $api for $room {
            $(async fn $op(&self, ctx: &Ctx, input: $input) -> Result<$output, ServiceError> {
                Ok(ops::$module::$op(&self.0, ctx, input).await?)
            })*
        }
    };
}

forward! {
    StsRoom as sts_api::Api;
    assume_role(sts_api::AssumeRoleInput) -> sts_api::AssumeRoleOutput = assume_role;
    get_access_key_info(sts_api::GetAccessKeyInfoInput) -> sts_api::GetAccessKeyInfoOutput = caller;
    get_caller_identity(sts_api::GetCallerIdentityInput) -> sts_api::GetCallerIdentityOutput = caller;
}

forward! {
    IamRoom as iam_api::Api;
    create_role(CreateRoleInput) -> CreateRoleOutput = role;
    get_role(GetRoleInput) -> GetRoleOutput = role;
    delete_role(DeleteRoleInput) -> DeleteRoleOutput = role;
    list_roles(ListRolesInput) -> ListRolesOutput = role;
    update_role(UpdateRoleInput) -> UpdateRoleOutput = role;
    update_role_description(UpdateRoleDescriptionInput) -> UpdateRoleDescriptionOutput = role;
    update_assume_role_policy(UpdateAssumeRolePolicyInput) -> UpdateAssumeRolePolicyOutput = role;
    put_role_policy(PutRolePolicyInput) -> PutRolePolicyOutput = role_policy;
    get_role_policy(GetRolePolicyInput) -> GetRolePolicyOutput = role_policy;
    delete_role_policy(DeleteRolePolicyInput) -> DeleteRolePolicyOutput = role_policy;
    list_role_policies(ListRolePoliciesInput) -> ListRolePoliciesOutput = role_policy;
    attach_role_policy(AttachRolePolicyInput) -> AttachRolePolicyOutput = role_policy;
    detach_role_policy(DetachRolePolicyInput) -> DetachRolePolicyOutput = role_policy;
    list_attached_role_policies(ListAttachedRolePoliciesInput) -> ListAttachedRolePoliciesOutput = role_policy;
    create_policy(CreatePolicyInput) -> CreatePolicyOutput = policy;
    get_policy(GetPolicyInput) -> GetPolicyOutput = policy;
    delete_policy(DeletePolicyInput) -> DeletePolicyOutput = policy;
    list_policies(ListPoliciesInput) -> ListPoliciesOutput = policy;
    create_policy_version(CreatePolicyVersionInput) -> CreatePolicyVersionOutput = policy_version;
    get_policy_version(GetPolicyVersionInput) -> GetPolicyVersionOutput = policy_version;
    list_policy_versions(ListPolicyVersionsInput) -> ListPolicyVersionsOutput = policy_version;
    delete_policy_version(DeletePolicyVersionInput) -> DeletePolicyVersionOutput = policy_version;
    set_default_policy_version(SetDefaultPolicyVersionInput) -> SetDefaultPolicyVersionOutput = policy_version;
    list_entities_for_policy(ListEntitiesForPolicyInput) -> ListEntitiesForPolicyOutput = policy;
    create_user(CreateUserInput) -> CreateUserOutput = user;
    get_user(GetUserInput) -> GetUserOutput = user;
    delete_user(DeleteUserInput) -> DeleteUserOutput = user;
    list_users(ListUsersInput) -> ListUsersOutput = user;
    update_user(UpdateUserInput) -> UpdateUserOutput = user;
    put_user_policy(PutUserPolicyInput) -> PutUserPolicyOutput = user_policy;
    get_user_policy(GetUserPolicyInput) -> GetUserPolicyOutput = user_policy;
    delete_user_policy(DeleteUserPolicyInput) -> DeleteUserPolicyOutput = user_policy;
    list_user_policies(ListUserPoliciesInput) -> ListUserPoliciesOutput = user_policy;
    attach_user_policy(AttachUserPolicyInput) -> AttachUserPolicyOutput = user_policy;
    detach_user_policy(DetachUserPolicyInput) -> DetachUserPolicyOutput = user_policy;
    list_attached_user_policies(ListAttachedUserPoliciesInput) -> ListAttachedUserPoliciesOutput = user_policy;
    create_access_key(CreateAccessKeyInput) -> CreateAccessKeyOutput = access_key;
    delete_access_key(DeleteAccessKeyInput) -> DeleteAccessKeyOutput = access_key;
    list_access_keys(ListAccessKeysInput) -> ListAccessKeysOutput = access_key;
    update_access_key(UpdateAccessKeyInput) -> UpdateAccessKeyOutput = access_key;
    get_access_key_last_used(GetAccessKeyLastUsedInput) -> GetAccessKeyLastUsedOutput = access_key;
    tag_role(TagRoleInput) -> TagRoleOutput = role;
    untag_role(UntagRoleInput) -> UntagRoleOutput = role;
    list_role_tags(ListRoleTagsInput) -> ListRoleTagsOutput = role;
    tag_user(TagUserInput) -> TagUserOutput = user;
    untag_user(UntagUserInput) -> UntagUserOutput = user;
    list_user_tags(ListUserTagsInput) -> ListUserTagsOutput = user;
    tag_policy(TagPolicyInput) -> TagPolicyOutput = policy;
    untag_policy(UntagPolicyInput) -> UntagPolicyOutput = policy;
    list_policy_tags(ListPolicyTagsInput) -> ListPolicyTagsOutput = policy;
    list_instance_profiles_for_role(ListInstanceProfilesForRoleInput) -> ListInstanceProfilesForRoleOutput = role;
    put_role_permissions_boundary(PutRolePermissionsBoundaryInput) -> PutRolePermissionsBoundaryOutput = role;
    delete_role_permissions_boundary(DeleteRolePermissionsBoundaryInput) -> DeleteRolePermissionsBoundaryOutput = role;
}
