//! Aliases and their weights.

use super::*;

async fn with_versions(count: usize) -> Cloud {
    let cloud = Cloud::new().await;
    cloud.function("f", "say 0").await;
    for i in 1..=count {
        let _: FunctionConfiguration =
            cloud.call("UpdateFunctionCode", new_code("f", &format!("say {i}"))).await.unwrap();
        cloud.settled("f").await;
        let input = PublishVersionInput { function_name: "f".into(), ..Default::default() };
        let _: FunctionConfiguration = cloud.call("PublishVersion", input).await.unwrap();
    }
    cloud
}

fn alias(name: &str, version: &str) -> CreateAliasInput {
    CreateAliasInput {
        function_name: "f".into(),
        name: name.into(),
        function_version: version.into(),
        ..Default::default()
    }
}

fn weights(pairs: &[(&str, f64)]) -> Option<AliasRoutingConfiguration> {
    let weights = pairs.iter().map(|(v, w)| ((*v).to_owned(), *w)).collect();
    Some(AliasRoutingConfiguration { additional_version_weights: Some(weights) })
}

fn update(name: &str) -> UpdateAliasInput {
    UpdateAliasInput { function_name: "f".into(), name: name.into(), ..Default::default() }
}

#[tokio::test]
async fn an_alias_follows_its_version() {
    let cloud = with_versions(2).await;
    let made: AliasConfiguration = cloud.call("CreateAlias", alias("live", "1")).await.unwrap();
    assert_eq!((made.alias_arn, made.function_version.as_deref()), (Some(arn("f:live")), Some("1")));
    assert_eq!(made.description.as_deref(), Some(""));
    let out = cloud.invoke("f:live", "{}").await.unwrap();
    assert_eq!((text(&out.payload).as_str(), out.executed_version.as_deref()), ("1", Some("1")));
    let moved = UpdateAliasInput { function_version: Some("2".into()), ..update("live") };
    let moved: AliasConfiguration = cloud.call("UpdateAlias", moved).await.unwrap();
    assert_ne!(moved.revision_id, made.revision_id);
    assert_eq!(cloud.answer("f:live", "{}").await, "2");
    let shown = cloud.get("f:live").await.expect("exists");
    assert_eq!((shown.version.as_deref(), shown.function_arn), (Some("2"), Some(arn("f:live"))));
}

#[tokio::test]
async fn weights_share_the_calls() {
    let cloud = with_versions(2).await;
    let input = CreateAliasInput { routing_config: weights(&[("2", 0.5)]), ..alias("live", "1") };
    let made: AliasConfiguration = cloud.call("CreateAlias", input).await.unwrap();
    assert_eq!(made.routing_config, weights(&[("2", 0.5)]));
    let mut seen = [0; 3];
    for _ in 0..60 {
        let out = cloud.invoke("f:live", "{}").await.unwrap();
        let version = text(&out.payload);
        assert_eq!(out.executed_version.as_deref(), Some(version.as_str()));
        seen[version.parse::<usize>().expect("a version")] += 1;
    }
    // Both miss with a chance of 2^-59.
    assert!(seen[1] > 0 && seen[2] > 0, "{seen:?}");
    let all = UpdateAliasInput { routing_config: weights(&[("2", 1.0)]), ..update("live") };
    let _: AliasConfiguration = cloud.call("UpdateAlias", all).await.unwrap();
    for _ in 0..10 {
        assert_eq!(cloud.answer("f:live", "{}").await, "2");
    }
    let none = UpdateAliasInput { routing_config: weights(&[]), ..update("live") };
    let plain: AliasConfiguration = cloud.call("UpdateAlias", none).await.unwrap();
    assert_eq!(plain.routing_config, None);
}

#[tokio::test]
async fn wrong_weights_are_refused() {
    let cloud = with_versions(3).await;
    let invalid = "InvalidParameterValueException";
    let cases = [
        ("1", vec![("2", 0.1), ("3", 0.1)], invalid),
        ("1", vec![("1", 0.1)], invalid),
        ("1", vec![("$LATEST", 0.1)], "ValidationException"),
        ("$LATEST", vec![("1", 0.1)], invalid),
        ("1", vec![("2", 1.5)], "ValidationException"),
        ("1", vec![("2", -0.5)], "ValidationException"),
        ("1", vec![("9", 0.1)], "ResourceNotFoundException"),
    ];
    for (version, pairs, code) in cases {
        let input = CreateAliasInput { routing_config: weights(&pairs), ..alias("live", version) };
        assert_eq!(cloud.refused::<AliasConfiguration>("CreateAlias", input).await.0.0, code, "{version} {pairs:?}");
    }
}

#[tokio::test]
async fn aliases_are_refused_with_awss_words() {
    let cloud = with_versions(1).await;
    let _: AliasConfiguration = cloud.call("CreateAlias", alias("live", "1")).await.unwrap();
    assert_eq!(
        cloud.refused::<AliasConfiguration>("CreateAlias", alias("live", "1")).await,
        (("ResourceConflictException", 409), format!("Alias already exists: {}", arn("f:live")))
    );
    assert_eq!(
        cloud.refused::<AliasConfiguration>("CreateAlias", alias("x", "7")).await,
        (("ResourceNotFoundException", 404), format!("Function not found: {}", arn("f:7")))
    );
    let (code, text) = cloud.refused::<AliasConfiguration>("CreateAlias", alias("2024", "1")).await;
    assert_eq!(code, ("ValidationException", 400));
    assert!(text.contains("'name' failed to satisfy constraint"), "{text}");
    let get = GetAliasInput { function_name: "f".into(), name: "nope".into() };
    assert_eq!(
        cloud.refused::<AliasConfiguration>("GetAlias", get).await,
        (("ResourceNotFoundException", 404), format!("Cannot find alias arn: {}", arn("f:nope")))
    );
    let stale = UpdateAliasInput { revision_id: Some("nope".into()), ..update("live") };
    assert_eq!(cloud.refused::<AliasConfiguration>("UpdateAlias", stale).await.0, ("PreconditionFailedException", 412));
    let gone = || DeleteAliasInput { function_name: "f".into(), name: "nope".into() };
    let _: DeleteAliasOutput = cloud.call("DeleteAlias", gone()).await.expect("deleting nothing is fine");
}

#[tokio::test]
async fn aliases_are_listed_by_version_and_in_pages() {
    let cloud = with_versions(2).await;
    for (name, version) in [("a", "1"), ("b", "2"), ("c", "1")] {
        let _: AliasConfiguration = cloud.call("CreateAlias", alias(name, version)).await.unwrap();
    }
    let list = |version: Option<&str>, marker: Option<String>, max| ListAliasesInput {
        function_name: "f".into(),
        function_version: version.map(str::to_owned),
        marker,
        max_items: max,
    };
    let names = |out: &ListAliasesOutput| {
        let aliases = out.aliases.iter().flatten();
        aliases.filter_map(|a| a.name.clone()).collect::<String>()
    };
    let of_one: ListAliasesOutput = cloud.call("ListAliases", list(Some("1"), None, None)).await.unwrap();
    assert_eq!((names(&of_one).as_str(), &of_one.next_marker), ("ac", &None));
    let first: ListAliasesOutput = cloud.call("ListAliases", list(None, None, Some(2))).await.unwrap();
    let rest: ListAliasesOutput =
        cloud.call("ListAliases", list(None, first.next_marker.clone(), Some(2))).await.unwrap();
    assert_eq!((names(&first).as_str(), names(&rest).as_str(), rest.next_marker), ("ab", "c", None));
}
