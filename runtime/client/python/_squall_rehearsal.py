"""The function that a zygote's rehearsal runs (zygote.py): what functions do while they load, and one call."""

try:
    import boto3

    client = boto3.client("dynamodb")
except ImportError:
    client = None


def handler(event, context):
    if event.get("last"):
        import __main__

        __main__.report()
    return {"statusCode": 200, "body": [event, context.aws_request_id, context.get_remaining_time_in_millis()]}
