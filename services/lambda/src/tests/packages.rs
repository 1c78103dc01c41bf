//! Code packages at the level of the API: limits, hostile archives, and that unused code goes.

use super::*;
use squall_store::objects::Objects as _;

fn with_zip(bytes: Bytes) -> CreateFunctionInput {
    let code = FunctionCode { zip_file: Some(bytes), ..Default::default() };
    CreateFunctionInput { code, ..create("f", "") }
}

async fn packages(cloud: &Cloud) -> usize {
    cloud.objects.list("lambda/").await.expect("a list").len()
}

fn folders(cloud: &Cloud) -> usize {
    std::fs::read_dir(cloud.dir.path().join("code")).map_or(0, Iterator::count)
}

#[tokio::test]
async fn broken_and_hostile_archives_are_refused_and_leave_nothing() {
    let cloud = Cloud::new().await;
    let zipped = zip(&[("bootstrap", "echo")]);
    let cases = [
        ("no zip", Bytes::from_static(b"hello")),
        ("cut off", zipped.slice(..zipped.len() - 10)),
        ("parent", zip(&[("../bootstrap", "echo")])),
        ("absolute", zip(&[("/bootstrap", "echo")])),
        ("backslashes", zip(&[("..\\bootstrap", "echo")])),
    ];
    for (what, bytes) in cases {
        let refused = cloud.refused::<FunctionConfiguration>("CreateFunction", with_zip(bytes)).await;
        let text = "Could not unzip uploaded file. Please check your file, then try to upload again.".to_owned();
        assert_eq!(refused, (("InvalidParameterValueException", 400), text), "{what}");
    }
    assert_eq!((packages(&cloud).await, folders(&cloud)), (0, 0));
    cloud.create(with_zip(zipped)).await.expect("a good one still goes");
}

#[tokio::test]
async fn packages_have_their_limits() {
    let cloud = Cloud::new().await;
    let large = with_zip(Bytes::from(vec![0; 50 * 1024 * 1024 + 1]));
    let refused = cloud.refused::<FunctionConfiguration>("CreateFunction", large).await;
    assert_eq!(refused.0, ("RequestEntityTooLargeException", 413));
    let mega = "0".repeat(5 << 20);
    let names: Vec<String> = (0..51).map(|i| format!("f{i}")).collect();
    let files: Vec<(&str, &str)> = names.iter().map(|n| (n.as_str(), mega.as_str())).collect();
    let refused = cloud.refused::<FunctionConfiguration>("CreateFunction", with_zip(zip(&files))).await;
    let text = "Unzipped size must be smaller than 262144000 bytes".to_owned();
    assert_eq!(refused, (("InvalidParameterValueException", 400), text));
    assert_eq!((packages(&cloud).await, folders(&cloud)), (0, 0));
}

#[tokio::test]
async fn code_that_nothing_uses_any_more_is_deleted() {
    let cloud = Cloud::new().await;
    cloud.function("f", "say 1").await;
    assert_eq!(cloud.answer("f", "{}").await, "1");
    let _: FunctionConfiguration = cloud.call("UpdateFunctionCode", new_code("f", "say 2")).await.unwrap();
    cloud.settled("f").await;
    assert_eq!(packages(&cloud).await, 1, "the old package is gone");
    let publish = PublishVersionInput { function_name: "f".into(), ..Default::default() };
    let _: FunctionConfiguration = cloud.call("PublishVersion", publish).await.unwrap();
    let _: FunctionConfiguration = cloud.call("UpdateFunctionCode", new_code("f", "say 3")).await.unwrap();
    cloud.settled("f").await;
    assert_eq!(packages(&cloud).await, 2, "version 1 keeps its own");
    assert_eq!((cloud.answer("f:1", "{}").await, cloud.answer("f", "{}").await), ("2".into(), "3".into()));
    let version = DeleteFunctionInput { function_name: "f".into(), qualifier: Some("1".into()) };
    let _: DeleteFunctionOutput = cloud.call("DeleteFunction", version).await.unwrap();
    assert_eq!(packages(&cloud).await, 1);
    let all = DeleteFunctionInput { function_name: "f".into(), ..Default::default() };
    let _: DeleteFunctionOutput = cloud.call("DeleteFunction", all).await.unwrap();
    assert_eq!(packages(&cloud).await, 0);
    eventually("the folders go with their last instance", || folders(&cloud) == 0).await;
}

#[tokio::test]
async fn a_refused_update_leaves_no_package() {
    let cloud = Cloud::new().await;
    cloud.function("f", "say 1").await;
    let _: FunctionConfiguration = cloud.call("UpdateFunctionCode", new_code("f", "say 2")).await.unwrap();
    let refused = cloud.refused::<FunctionConfiguration>("UpdateFunctionCode", new_code("f", "say 3")).await;
    assert_eq!(refused.0, ("ResourceConflictException", 409));
    cloud.settled("f").await;
    assert_eq!(packages(&cloud).await, 1);
    assert_eq!(cloud.answer("f", "{}").await, "2");
}

#[tokio::test]
async fn unpacked_code_is_only_a_cache() {
    let cloud = Cloud::new().await;
    cloud.function("f", "say 1").await;
    let cloud = cloud.reopened().await;
    std::fs::remove_dir_all(cloud.dir.path().join("code")).expect("removed");
    assert_eq!(cloud.answer("f", "{}").await, "1");
}

#[tokio::test]
async fn a_package_can_be_fetched_by_its_link_for_ten_minutes() {
    use squall_service::Front as _;
    let cloud = Cloud::new().await;
    cloud.function("f", "say 1").await;
    let get = GetFunctionInput { function_name: "f".into(), ..Default::default() };
    let shown: GetFunctionOutput = cloud.call("GetFunction", get).await.unwrap();
    let link = shown.code.and_then(|c| c.location).expect("a link");
    let rest = link.strip_prefix("http://localhost/_aws/lambda-url/code").expect("on this host");
    let (path, query) = rest.split_once('?').expect("a signature");
    let fetch = |path: &str, query: &str| {
        let mut request = super::urls::request("GET", path);
        (request.query, request.time) = (query.to_owned(), cloud.clock.now());
        let room = cloud.room.clone();
        async move { room.serve("code", "", request).await }
    };
    let reply = fetch(path, query).await;
    assert_eq!((reply.status, reply.body), (200, zip(&[("bootstrap", "say 1")])));
    let forged = query.replace("Expires=", "Expires=9");
    let short = query.get(..query.len() - 2).expect("longer");
    for (path, query) in [(path, forged.as_str()), (path, short), (path, ""), ("/other", query), ("/", query)] {
        assert_eq!(fetch(path, query).await.status, 403, "{path} {query}");
    }
    cloud.clock.advance(Duration::from_secs(601));
    assert_eq!(fetch(path, query).await.status, 403, "its time is over");
}
