"""The examples in Java, Ruby and Rust, and an extension inside a function, through Invoke; what the host lacks is skipped."""

import os
import pathlib
import shutil
import subprocess
import tempfile

import botocore.exceptions

import kit
from kit import equal

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples"
EVENT = {"pathParameters": {"name": "Ada"}}


def has(text, part):
    equal(part in text, True, text)


def greeting(name):
    for _ in range(2):
        payload, answer = kit.invoke(name, EVENT)
        equal("FunctionError" in answer, False, payload)
        equal(payload["statusCode"], 200)
        has(payload["body"], "Hello, Ada!")


def tree(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in pathlib.Path(folder).rglob("*") if p.is_file()}


def make(*argv):
    """Runs a compiler; false where there is none."""
    if not shutil.which(argv[0]):
        print(f"skipped: {argv[0]} is not here")
        return False
    subprocess.run(argv, check=True)
    return True


def there(files, runtime, handler, **options):
    """A function, or nothing where the host lacks the runtime, which is told by name."""
    try:
        return kit.function(files, runtime, handler, **options)
    except botocore.exceptions.ClientError as error:
        equal(error.response["Error"]["Code"], "InvalidParameterValueException")
        has(error.response["Error"]["Message"], f"The runtime {runtime} is not available on this host: install")
        print(f"skipped: {runtime} is not here")
        return None


def test_java():
    with tempfile.TemporaryDirectory() as out:
        if not make("javac", "--release", "17", "-d", out, str(EXAMPLES / "hello-java/src/hello/Handler.java")):
            return
        files = tree(out)
    for runtime in ["java17", "java21", "java25"]:
        name = there(files, runtime, "hello.Handler::hello", MemorySize=256, Timeout=30)
        if name:
            greeting(name)


def test_ruby():
    files = {"handler.rb": (EXAMPLES / "hello-ruby/handler.rb").read_text()}
    for runtime in ["ruby3.2", "ruby3.3", "ruby3.4"]:
        name = there(files, runtime, "handler.hello", Timeout=30)
        if name:
            greeting(name)


def test_rust():
    source = str(EXAMPLES / "hello-rust/src/main.rs")
    for link in ["target-feature=+crt-static", "prefer-dynamic=no"]:
        with tempfile.TemporaryDirectory() as out:
            if not make("rustc", "--edition", "2024", "-C", link, "-o", os.path.join(out, "bootstrap"), source):
                return
            greeting(there(tree(out), "provided.al2023", "bootstrap"))


def test_a_bootstrap_that_cannot_run_is_the_functions_error():
    for files, message in [
        ({"bootstrap": "no program"}, "exec format error"),
        ({"bootstrap": "#!/no/such/interpreter\n"}, "no such file or directory"),
        ({"other": "x"}, "Couldn't find valid bootstrap(s)"),
    ]:
        payload, answer = kit.invoke(there(files, "provided.al2", "x"), {})
        equal((answer["FunctionError"], payload["errorType"]), ("Unhandled", "Runtime.InvalidEntrypoint"))
        has(payload["errorMessage"], message)


def test_an_internal_extension():
    source = """
import json, os, threading
from http.client import HTTPConnection
heard = []
def listen():
    api = HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    def ask(method, path, body=None, **headers):
        api.request(method, "/2020-01-01/extension/" + path, body, {"Lambda-Extension-" + k: v for k, v in headers.items()})
        answer = api.getresponse()
        return answer.headers, json.loads(answer.read())
    me = ask("POST", "register", '{"events": ["INVOKE"]}', Name="inner")[0]["Lambda-Extension-Identifier"]
    ready.set()
    while True:
        heard.append(ask("GET", "event/next", Identifier=me)[1]["requestId"])
ready = threading.Event()
threading.Thread(target=listen, daemon=True).start()
ready.wait()
def handler(event, context):
    while context.aws_request_id not in heard:
        pass
    return len(heard)
"""
    name = there({"index.py": source}, kit.PYTHON, "index.handler")
    for n in range(1, 4):
        equal(kit.invoke(name, {})[0], n)


kit.main(globals())
