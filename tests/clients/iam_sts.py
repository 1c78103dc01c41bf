"""IAM and STS through boto3: resources, and what policies allow."""

import json

import kit
from kit import contains, equal, fails, matches

iam = kit.client("iam")
sts = kit.client("sts")


def document(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Resource": "*", **s} for s in statements]})


def user(policy=None):
    """A new user with an access key: (name, key)."""
    name = kit.name("user")
    iam.create_user(UserName=name)
    if policy:
        iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=policy)
    return name, iam.create_access_key(UserName=name)["AccessKey"]


def denied(message, call, *args, code="AccessDenied", **kwargs):
    return fails(code, message, call, *args, status=403 if code == "AccessDenied" else None, **kwargs)


def test_root_is_the_account():
    contains(sts.get_caller_identity(), {"Account": kit.ACCOUNT, "Arn": f"arn:aws:iam::{kit.ACCOUNT}:root", "UserId": kit.ACCOUNT})


def test_roles():
    name = kit.name("role")
    made = iam.create_role(
        RoleName=name, AssumeRolePolicyDocument=kit.TRUST, Description="d", MaxSessionDuration=7200, Tags=[{"Key": "a", "Value": "1"}]
    )
    equal(made["ResponseMetadata"]["HTTPStatusCode"], 200)
    role = made["Role"]
    contains(role, {"RoleName": name, "Path": "/", "Arn": f"arn:aws:iam::{kit.ACCOUNT}:role/{name}"})
    equal(role["AssumeRolePolicyDocument"], json.loads(kit.TRUST))
    matches(role["RoleId"], "AROA[A-Z0-9]{17}")
    got = iam.get_role(RoleName=name)["Role"]
    contains(got, {"Description": "d", "MaxSessionDuration": 7200, "Tags": [{"Key": "a", "Value": "1"}], "RoleLastUsed": {}})
    equal(name in [r["RoleName"] for p in iam.get_paginator("list_roles").paginate() for r in p["Roles"]], True)
    fails("EntityAlreadyExists", f"Role with name {name} already exists.", iam.create_role, RoleName=name, AssumeRolePolicyDocument=kit.TRUST, status=409)
    missing = "The role with name nope cannot be found."
    fails("NoSuchEntity", missing, iam.get_role, RoleName="nope", status=404)
    fails("NoSuchEntity", missing, iam.delete_role, RoleName="nope", status=404)
    fails("MalformedPolicyDocument", None, iam.create_role, RoleName=kit.name(), AssumeRolePolicyDocument="{", status=400)
    iam.update_role(RoleName=name, Description="e")
    iam.update_assume_role_policy(RoleName=name, PolicyDocument=kit.TRUST)
    iam.put_role_policy(RoleName=name, PolicyName="inline", PolicyDocument=document({"Action": "logs:*"}))
    equal(iam.list_role_policies(RoleName=name)["PolicyNames"], ["inline"])
    equal(iam.get_role_policy(RoleName=name, PolicyName="inline")["PolicyDocument"]["Statement"][0]["Action"], "logs:*")
    managed = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
    iam.attach_role_policy(RoleName=name, PolicyArn=managed)
    equal(
        iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"],
        [{"PolicyName": "AWSLambdaBasicExecutionRole", "PolicyArn": managed}],
    )
    fails("DeleteConflict", "Cannot delete entity, must detach all policies first.", iam.delete_role, RoleName=name, status=409)
    iam.detach_role_policy(RoleName=name, PolicyArn=managed)
    fails("DeleteConflict", "Cannot delete entity, must delete policies first.", iam.delete_role, RoleName=name, status=409)
    iam.delete_role_policy(RoleName=name, PolicyName="inline")
    iam.delete_role(RoleName=name)
    fails("NoSuchEntity", f"The role with name {name} cannot be found.", iam.get_role, RoleName=name)


def test_policies():
    name = kit.name("policy")
    arn = iam.create_policy(PolicyName=name, PolicyDocument=document({"Action": "dynamodb:GetItem"}))["Policy"]["Arn"]
    equal(arn, f"arn:aws:iam::{kit.ACCOUNT}:policy/{name}")
    contains(iam.get_policy(PolicyArn=arn)["Policy"], {"PolicyName": name, "DefaultVersionId": "v1", "AttachmentCount": 0})
    two = iam.create_policy_version(PolicyArn=arn, PolicyDocument=document({"Action": "dynamodb:*"}), SetAsDefault=True)
    equal(two["PolicyVersion"]["VersionId"], "v2")
    equal(iam.get_policy_version(PolicyArn=arn, VersionId="v2")["PolicyVersion"]["Document"]["Statement"][0]["Action"], "dynamodb:*")
    equal(sorted(v["VersionId"] for v in iam.list_policy_versions(PolicyArn=arn)["Versions"]), ["v1", "v2"])
    fails("DeleteConflict", None, iam.delete_policy_version, PolicyArn=arn, VersionId="v2", status=409)
    iam.delete_policy_version(PolicyArn=arn, VersionId="v1")
    equal(arn in [p["Arn"] for p in iam.list_policies(Scope="Local")["Policies"]], True)
    who, _ = user()
    iam.attach_user_policy(UserName=who, PolicyArn=arn)
    equal(iam.list_entities_for_policy(PolicyArn=arn)["PolicyUsers"][0]["UserName"], who)
    fails("DeleteConflict", "Cannot delete a policy attached to entities.", iam.delete_policy, PolicyArn=arn, status=409)
    iam.detach_user_policy(UserName=who, PolicyArn=arn)
    iam.delete_policy(PolicyArn=arn)
    fails("NoSuchEntity", f"Policy {arn} was not found.", iam.get_policy, PolicyArn=arn, status=404)
    fails("MalformedPolicyDocument", None, iam.create_policy, PolicyName=kit.name(), PolicyDocument='{"Statement": 1}')
    contains(iam.get_policy(PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")["Policy"], {"PolicyName": "AdministratorAccess"})


def test_users_and_keys():
    name, key = user()
    matches(key["AccessKeyId"], "AKIA[A-Z0-9]{16}")
    equal(len(key["SecretAccessKey"]), 40)
    got = iam.get_user(UserName=name)["User"]
    contains(got, {"UserName": name, "Arn": f"arn:aws:iam::{kit.ACCOUNT}:user/{name}", "Path": "/"})
    fails("EntityAlreadyExists", f"User with name {name} already exists.", iam.create_user, UserName=name, status=409)
    me = kit.client_of("sts", key).get_caller_identity()
    contains(me, {"Arn": got["Arn"], "UserId": got["UserId"], "Account": kit.ACCOUNT})
    second = iam.create_access_key(UserName=name)["AccessKey"]
    fails("LimitExceeded", "Cannot exceed quota for AccessKeysPerUser: 2", iam.create_access_key, UserName=name, status=409)
    iam.update_access_key(UserName=name, AccessKeyId=second["AccessKeyId"], Status="Inactive")
    equal({k["Status"] for k in iam.list_access_keys(UserName=name)["AccessKeyMetadata"]}, {"Active", "Inactive"})
    fails("InvalidClientTokenId", "The security token included in the request is invalid.", kit.client_of("sts", second).get_caller_identity, status=403)
    iam.delete_access_key(UserName=name, AccessKeyId=second["AccessKeyId"])
    fails("DeleteConflict", "~Cannot delete entity, must delete access keys first.*", iam.delete_user, UserName=name, status=409)
    iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
    fails("InvalidClientTokenId", None, kit.client_of("sts", key).get_caller_identity)
    iam.delete_user(UserName=name)
    fails("NoSuchEntity", f"The user with name {name} cannot be found.", iam.get_user, UserName=name, status=404)


def test_lists_page():
    names = sorted(user()[0] for _ in range(5))
    found = [u["UserName"] for p in iam.get_paginator("list_users").paginate(PaginationConfig={"PageSize": 2}) for u in p["Users"]]
    equal([n for n in found if n in names], names)


def test_tags():
    name = kit.name("role")
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=kit.TRUST)
    iam.tag_role(RoleName=name, Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])
    iam.untag_role(RoleName=name, TagKeys=["a"])
    equal(iam.list_role_tags(RoleName=name)["Tags"], [{"Key": "b", "Value": "2"}])


def test_users_may_do_what_their_policies_allow():
    name, key = user()
    arn = f"arn:aws:iam::{kit.ACCOUNT}:user/{name}"
    db, fn = kit.client_of("dynamodb", key), kit.client_of("lambda", key)
    tables = f"arn:aws:dynamodb:{kit.REGION}:{kit.ACCOUNT}:table/"
    denied(
        f"User: {arn} is not authorized to perform: dynamodb:ListTables on resource: {tables}* because no identity-based "
        "policy allows the dynamodb:ListTables action",
        db.list_tables,
        code="AccessDeniedException",
    )
    denied(
        f"~User: {arn} is not authorized to perform: lambda:GetFunction on resource: "
        f"arn:aws:lambda:{kit.REGION}:{kit.ACCOUNT}:function:secret because no identity-based policy allows the "
        "lambda:GetFunction action",
        fn.get_function,
        FunctionName="secret",
        code="AccessDeniedException",
    )
    denied(
        f"User: {arn} is not authorized to perform: iam:CreateUser on resource: arn:aws:iam::{kit.ACCOUNT}:user/other "
        "because no identity-based policy allows the iam:CreateUser action",
        kit.client_of("iam", key).create_user,
        UserName="other",
    )
    it = kit.name("table")
    make = dict(
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    iam.put_user_policy(
        UserName=name,
        PolicyName="p",
        PolicyDocument=document(
            {"Action": ["dynamodb:*Item", "dynamodb:CreateTable"], "Resource": f"{tables}{it}"},
            {"Effect": "Deny", "Action": "dynamodb:DeleteItem"},
        ),
    )
    db.create_table(TableName=it, **make)
    kit.client("dynamodb").get_waiter("table_exists").wait(TableName=it, WaiterConfig={"Delay": 1})
    item = {"id": {"S": "a"}}
    db.put_item(TableName=it, Item=item)
    equal(db.get_item(TableName=it, Key=item)["Item"], item)
    denied(
        f"User: {arn} is not authorized to perform: dynamodb:DeleteItem on resource: {tables}{it} with an explicit deny in "
        "an identity-based policy",
        db.delete_item,
        TableName=it,
        Key=item,
        code="AccessDeniedException",
    )
    denied(None, db.create_table, TableName=it + "2", **make, code="AccessDeniedException")
    denied(None, db.scan, TableName=it, code="AccessDeniedException")
    iam.delete_user_policy(UserName=name, PolicyName="p")
    denied(None, db.get_item, TableName=it, Key=item, code="AccessDeniedException")
    iam.attach_user_policy(UserName=name, PolicyArn="arn:aws:iam::aws:policy/AmazonDynamoDBReadOnlyAccess")
    equal(db.get_item(TableName=it, Key=item)["Item"], item)
    denied(None, db.put_item, TableName=it, Item=item, code="AccessDeniedException")
    iam.attach_user_policy(UserName=name, PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
    db.put_item(TableName=it, Item=item)


def test_conditions():
    name, key = user(
        document(
            {"Action": "dynamodb:*", "Condition": {"StringEquals": {"aws:RequestedRegion": kit.REGION}}},
            {"Action": "lambda:*", "Condition": {"StringEquals": {"aws:RequestedRegion": "mars-north-1"}}},
            {"Action": "logs:*", "Condition": {"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}}},
        )
    )
    kit.client_of("dynamodb", key).list_tables()
    kit.client_of("logs", key).describe_log_groups()
    denied(None, kit.client_of("lambda", key).list_functions, code="AccessDeniedException")


def test_assume_role():
    name, key = user()
    arn = f"arn:aws:iam::{kit.ACCOUNT}:user/{name}"
    trust = json.dumps(
        {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": arn}, "Action": "sts:AssumeRole"}]}
    )
    role = kit.role(trust=trust, policy={"Action": "dynamodb:ListTables"})
    role_name = role.split("/")[-1]
    answer = kit.client_of("sts", key).assume_role(RoleArn=role, RoleSessionName="work", DurationSeconds=900)
    keys = answer["Credentials"]
    matches(keys["AccessKeyId"], "ASIA[A-Z0-9]{16}")
    session = f"arn:aws:sts::{kit.ACCOUNT}:assumed-role/{role_name}/work"
    equal(answer["AssumedRoleUser"]["Arn"], session)
    equal(kit.client_of("sts", keys).get_caller_identity()["Arn"], session)
    kit.client_of("dynamodb", keys).list_tables()
    denied(
        f"~User: {session} is not authorized to perform: dynamodb:DescribeTable on resource: .* because no identity-based "
        "policy allows the dynamodb:DescribeTable action",
        kit.client_of("dynamodb", keys).describe_table,
        TableName="some-table",
        code="AccessDeniedException",
    )
    # The key of a session is worth nothing without its token.
    fails("InvalidClientTokenId", None, kit.client_of("sts", {**keys, "SessionToken": None}).get_caller_identity, status=403)
    fails("InvalidClientTokenId", None, kit.client_of("sts", {**keys, "SessionToken": "x" * 200}).get_caller_identity, status=403)
    _, stranger = user()
    denied(
        f"~User: .* is not authorized to perform: sts:AssumeRole on resource: {role}.*",
        kit.client_of("sts", stranger).assume_role,
        RoleArn=role,
        RoleSessionName="no",
    )
    narrow = kit.client_of("sts", key).assume_role(
        RoleArn=role, RoleSessionName="narrow", Policy=document({"Action": "dynamodb:DescribeTable"})
    )["Credentials"]
    denied(None, kit.client_of("dynamodb", narrow).list_tables, code="AccessDeniedException")


def test_passing_a_role_needs_a_grant():
    role = kit.role()
    name, key = user(document({"Action": "lambda:*"}))
    request = dict(
        FunctionName=kit.name(), Runtime=kit.PYTHON, Role=role, Handler="index.handler", Code={"ZipFile": kit.zipped("def handler(e, c): pass\n")}
    )
    denied(
        f"~User: arn:aws:iam::{kit.ACCOUNT}:user/{name} is not authorized to perform: iam:PassRole on resource: {role}.*",
        kit.client_of("lambda", key).create_function,
        **request,
        code="AccessDeniedException",
    )
    iam.put_user_policy(UserName=name, PolicyName="pass", PolicyDocument=document({"Action": "iam:PassRole", "Resource": role}))
    kit.client_of("lambda", key).create_function(**request)


kit.main(globals())
