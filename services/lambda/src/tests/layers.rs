//! Layers: numbers, what outlives a deletion, which packages stay.

use super::*;
use squall_store::objects::Objects as _;

async fn publish(cloud: &Cloud, files: &[(&str, &str)]) -> String {
    let input = PublishLayerVersionInput {
        layer_name: "words".into(),
        content: LayerVersionContentInput { zip_file: Some(zip(files)), ..Default::default() },
        ..Default::default()
    };
    let made: PublishLayerVersionOutput = cloud.call("PublishLayerVersion", input).await.expect("published");
    made.layer_version_arn.expect("an ARN")
}

async fn delete(cloud: &Cloud, number: i64) {
    let input = DeleteLayerVersionInput { layer_name: "words".into(), version_number: number };
    let _: DeleteLayerVersionOutput = cloud.call("DeleteLayerVersion", input).await.expect("deleted");
}

async fn numbers(cloud: &Cloud) -> Vec<i64> {
    let input = ListLayerVersionsInput { layer_name: "words".into(), ..Default::default() };
    let listed: ListLayerVersionsOutput = cloud.call("ListLayerVersions", input).await.expect("listed");
    listed.layer_versions.into_iter().flatten().filter_map(|v| v.version).collect()
}

async fn packages(cloud: &Cloud) -> usize {
    cloud.objects.list("lambda/").await.expect("a list").len()
}

#[tokio::test]
async fn a_number_is_never_given_twice() {
    let cloud = Cloud::new().await;
    let arn = publish(&cloud, &[("a", "1")]).await;
    assert_eq!(arn, "arn:aws:lambda:us-east-1:000000000000:layer:words:1");
    publish(&cloud, &[("a", "2")]).await;
    delete(&cloud, 2).await;
    let cloud = cloud.reopened().await;
    assert!(publish(&cloud, &[("a", "3")]).await.ends_with(":words:3"));
    assert_eq!(numbers(&cloud).await, [3, 1]);
}

#[tokio::test]
async fn a_package_stays_as_long_as_a_function_uses_it() {
    let cloud = Cloud::new().await;
    let (one, two) = (publish(&cloud, &[("a", "1"), ("b", "1")]).await, publish(&cloud, &[("c", "1")]).await);
    let mut input = create("f", "say 1");
    input.layers = Some(vec![one.clone()]);
    cloud.create(input).await.expect("created");
    let made = cloud.settled("f").await;
    assert_eq!(made.layers.map(|l| l[0].arn.clone()), Some(Some(one)));
    assert_eq!(packages(&cloud).await, 3);
    delete(&cloud, 1).await;
    assert_eq!(packages(&cloud).await, 3, "the function has it");
    assert_eq!(cloud.answer("f", "{}").await, "1");
    let input =
        UpdateFunctionConfigurationInput { function_name: "f".into(), layers: Some(vec![two]), ..Default::default() };
    let _: FunctionConfiguration = cloud.call("UpdateFunctionConfiguration", input).await.expect("changed");
    cloud.settled("f").await;
    assert_eq!(packages(&cloud).await, 2, "nobody has it");
}
