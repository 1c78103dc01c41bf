"""Runs one Python function: takes events from the Runtime API, calls the handler, sends back what it returned.

Started by bootstrap.py, from which it is apart so that Python keeps it compiled. Start time is what matters here: `http.client`, `json` (which loads `re`),
`traceback` and `logging` are only imported when the function does so itself or when something fails.
"""

import _json
import _socket
import builtins
import os
import sys
import time

VERSION = "/2018-06-01/runtime/"
INDENT = "\u00a0\u00a0"


# --- sys.path, as AWS has it: the package, layers, the runtime's folder, the standard library, the SDK.


def set_path(env, opt, sdk):
    task = env.get("LAMBDA_TASK_ROOT", "/var/task")
    version = "python%d.%d" % sys.version_info[:2]
    layers = [opt + "/python/lib/" + version + "/site-packages", opt + "/python"]
    # The first entry is this file's folder, then PYTHONPATH (which names that folder again, unless the function set its own).
    rest = sys.path[1:]
    sys.path[:] = [task] + layers + rest + ([sdk] if sdk else [])


class Quitter:
    """`exit` and `quit`, which the `site` module would have made."""

    def __init__(self, name):
        self.name = name

    def __repr__(self):
        return "Use %s() or Ctrl-D (i.e. EOF) to exit" % self.name

    def __call__(self, code=None):
        raise SystemExit(code)


# --- JSON without the json package: its C scanner and encoder, which need no regular expressions.


class Scanner:
    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}.__getitem__
    memo = {}


# Texts of the Decimals in the value that is being encoded, and what stands for each until then.
_numbers = []
_mark = ""


def refuse_json(value):
    """What JSON has no form for; only Decimals, which DynamoDB's items are full of, become numbers, digit by digit."""
    global _mark
    decimal = sys.modules.get("decimal")
    if decimal is not None and isinstance(value, decimal.Decimal):
        if value.is_nan():
            return float("nan")
        _mark = _mark or os.urandom(8).hex()
        _numbers.append(str(value))
        return "%s:%d:" % (_mark, len(_numbers) - 1)
    raise TypeError("Object of type %s is not JSON serializable" % type(value).__name__)


scan = _json.make_scanner(Scanner())
_quote = _json.encode_basestring if sys.version_info >= (3, 12) else _json.encode_basestring_ascii
try:
    _encode = _json.make_encoder({}, refuse_json, _quote, None, ": ", ", ", False, False, True)
except TypeError:
    _encode = None


def loads(data):
    text = data.decode("utf-8", "surrogatepass").strip(" \t\r\n")
    try:
        value, end = scan(text, 0)
        if end == len(text):
            return value
    except (StopIteration, ValueError):
        pass
    import json

    return json.loads(text)


def dumps(value):
    if type(value) is str:
        return _quote(value)
    _numbers.clear()
    if _encode is None:
        import json

        text = json.dumps(value, default=refuse_json, ensure_ascii=sys.version_info < (3, 12))
    else:
        text = "".join(_encode(value, 0))
    for at, number in enumerate(_numbers):
        text = text.replace('"%s:%d:"' % (_mark, at), number, 1)
    return text


# --- The Runtime API over one kept connection.


class Client:
    """An HTTP/1.1 client that knows only what the Runtime API sends: a status, headers and a Content-Length."""

    def __init__(self, address):
        host, _, port = address.rpartition(":")
        self.host = address
        self.sock = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
        self.sock.connect((host, int(port)))
        self.sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        self.rest = b""
        self.get_next = ("GET %sinvocation/next HTTP/1.1\r\nHost: %s\r\n\r\n" % (VERSION, address)).encode()

    def read(self):
        """One response: status, headers with lower-case names, body."""
        data = self.rest
        while True:
            end = data.find(b"\r\n\r\n")
            if end >= 0:
                break
            more = self.sock.recv(65536)
            if not more:
                # The platform has gone: there is nobody left to run for.
                os._exit(1)
            data += more
        lines = data[:end].decode("latin-1").split("\r\n")
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        size = int(headers.get("content-length", "0"))
        body = data[end + 4 :]
        if len(body) < size:
            buffer = bytearray(size)
            have = len(body)
            buffer[:have] = body
            view = memoryview(buffer)
            while have < size:
                count = self.sock.recv_into(view[have:])
                if not count:
                    os._exit(1)
                have += count
            body = buffer
            self.rest = b""
        else:
            self.rest = body[size:]
            body = body[:size]
        return int(lines[0].split(" ", 2)[1]), headers, body

    def post(self, path, body, error_type=None, then_next=False):
        head = "POST %s%s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\n" % (VERSION, path, self.host)
        if error_type is not None:
            head += "Lambda-Runtime-Function-Error-Type: %s\r\n" % one_line(error_type)
        message = ("%sContent-Length: %d\r\n\r\n" % (head, len(body))).encode("utf-8", "replace") + body
        # The answer and the request for the next event travel together: one system call less on each side.
        self.sock.sendall(message + self.get_next if then_next else message)
        self.read()


def one_line(text):
    return str(text).replace("\r", " ").replace("\n", " ")


# --- What a handler gets.


class CognitoIdentity:
    __slots__ = ("cognito_identity_id", "cognito_identity_pool_id")

    def __init__(self, fields):
        self.cognito_identity_id = fields.get("cognitoIdentityId")
        self.cognito_identity_pool_id = fields.get("cognitoIdentityPoolId")


class Client_:
    def __init__(self, fields):
        for name in ("installation_id", "app_title", "app_version_name", "app_version_code", "app_package_name"):
            setattr(self, name, fields.get(name))


Client_.__name__ = Client_.__qualname__ = "Client"


class ClientContext:
    def __init__(self, fields):
        client = fields.get("client")
        self.custom = fields.get("custom")
        self.env = fields.get("env")
        self.client = Client_(client) if isinstance(client, dict) else None


class LambdaContext:
    """The second argument of a handler; names and types as AWS documents them."""

    def __init__(self, env, headers):
        self.aws_request_id = headers.get("lambda-runtime-aws-request-id")
        self.log_group_name = env.get("AWS_LAMBDA_LOG_GROUP_NAME")
        self.log_stream_name = env.get("AWS_LAMBDA_LOG_STREAM_NAME")
        self.function_name = env.get("AWS_LAMBDA_FUNCTION_NAME")
        self.memory_limit_in_mb = env.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
        self.function_version = env.get("AWS_LAMBDA_FUNCTION_VERSION")
        self.invoked_function_arn = headers.get("lambda-runtime-invoked-function-arn")
        self.tenant_id = None
        client = headers.get("lambda-runtime-client-context")
        fields = loads(client.encode("latin-1")) if client else None
        self.client_context = ClientContext(fields) if isinstance(fields, dict) else None
        identity = headers.get("lambda-runtime-cognito-identity")
        fields = loads(identity.encode("latin-1")) if identity else None
        self.identity = CognitoIdentity(fields if isinstance(fields, dict) else {})
        self._epoch_deadline_time_in_ms = int(headers.get("lambda-runtime-deadline-ms", "0"))

    def get_remaining_time_in_millis(self):
        return max(self._epoch_deadline_time_in_ms - int(time.time() * 1000), 0)

    def log(self, message):
        sys.stdout.write(str(message))

    def __repr__(self):
        names = ("aws_request_id", "log_group_name", "log_stream_name", "function_name", "memory_limit_in_mb")
        names += ("function_version", "invoked_function_arn", "client_context", "identity", "tenant_id")
        fields = ",".join("%s=%s" % (name, getattr(self, name)) for name in names)
        return "LambdaContext([%s])" % fields


# --- logging: a root handler in AWS's format, set up at the moment the function imports the module.


class LoggingHook:
    """A finder that only waits for `logging`: importing it always would double the start time."""

    def __init__(self, state):
        self.state = state

    def find_spec(self, name, path=None, target=None):
        if name != "logging":
            return None
        sys.meta_path.remove(self)
        from importlib.machinery import PathFinder

        spec = PathFinder.find_spec(name)
        if spec is not None and spec.loader is not None:
            run, state = spec.loader.exec_module, self.state

            def exec_module(module):
                run(module)
                set_up_logging(module, state)

            spec.loader.exec_module = exec_module
        return spec


def set_up_logging(logging, state):
    json_form = os.environ.get("AWS_LAMBDA_LOG_FORMAT") == "JSON"

    class LambdaLoggerFilter(logging.Filter):
        def filter(self, record):
            record.aws_request_id = state.request_id or ""
            return True

    class LambdaLoggerHandler(logging.Handler):
        def emit(self, record):
            if json_form:
                sys.stdout.write(json_line(logging, record, state.request_id) + "\n")
            else:
                sys.stdout.write(framed(self.format(record).splitlines()) + "\n")

    form = "[%(levelname)s]\t%(asctime)s.%(msecs)dZ\t%(aws_request_id)s\t%(message)s"
    formatter = logging.Formatter(form, "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler = LambdaLoggerHandler()
    handler.setFormatter(formatter)
    handler.addFilter(LambdaLoggerFilter())
    logging.root.addHandler(handler)
    if json_form:
        level = os.environ.get("AWS_LAMBDA_LOG_LEVEL", "INFO")
        logging.root.setLevel({"TRACE": 5, "FATAL": 50}.get(level, level))


def framed(lines):
    """One event of the log, however many lines: the platform turns NUL back into line breaks."""
    return "\0" + "\0".join(line.replace("\0", " ") for line in lines)


def json_line(logging, record, request_id):
    """A record as AWS's JSON log has it: its own fields, then those given as `extra`."""
    import json

    fields = {
        "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)),
        "level": record.levelname,
        "message": record.getMessage(),
        "logger": record.name,
    }
    if record.stack_info:
        fields["stackTrace"] = record.stack_info
    if record.exc_info and record.exc_info[0]:
        import traceback

        kind, error, trace = record.exc_info
        fields["errorType"], fields["errorMessage"] = kind.__name__, str(error)
        fields["stackTrace"] = [line.rstrip("\n") for line in traceback.format_tb(trace)]
        fields["location"] = "%s:%s:%s" % (record.pathname, record.funcName, record.lineno)
    if request_id:
        fields["requestId"] = request_id
    own = set(vars(logging.makeLogRecord({}))) | {"aws_request_id", "message", "asctime", "taskName"}
    for name, value in vars(record).items():
        if name not in own:
            fields.setdefault(name, value)
    return json.dumps(fields, default=str, ensure_ascii=False)


# --- Errors.


class Fault(Exception):
    """A failure that AWS names itself."""

    def __init__(self, kind, message, trace=()):
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.trace = list(trace)


def describe(error, request_id):
    """The error as AWS's JSON: message, type, request id, stack trace without this file's own frames."""
    if isinstance(error, Fault):
        kind, message, trace = error.kind, error.message, error.trace
    else:
        import traceback

        frames = [(f.filename, f.lineno, f.name, f.line) for f in traceback.extract_tb(error.__traceback__)]
        while frames and frames[0][0] == __file__:
            frames.pop(0)
        kind, message, trace = type(error).__name__, str(error), traceback.format_list(frames)
    return {"errorMessage": message, "errorType": kind, "requestId": request_id or "", "stackTrace": trace}


def print_error(fields):
    if os.environ.get("AWS_LAMBDA_LOG_FORMAT") == "JSON":
        import json

        entry = {"timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "log_level": "ERROR"}
        sys.stdout.write(json.dumps({**entry, **fields}) + "\n")
        return
    text = "[ERROR]"
    if fields["errorType"]:
        text += " " + fields["errorType"] + (":" if fields["errorMessage"] else "")
    if fields["errorMessage"]:
        text += " " + fields["errorMessage"]
    lines = text.splitlines() + ["Traceback (most recent call last):"]
    for entry in fields["stackTrace"]:
        for line in entry.splitlines():
            bare = line.lstrip(" ")
            lines.append(INDENT * ((len(line) - len(bare)) // 2) + bare)
    sys.stdout.write(framed(lines) + "\n")


def flush():
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, ValueError, OSError):
            pass


# --- The function.


def load(name):
    """The handler that `_HANDLER` names: `module.function`, the module with `/` or `.` between folders."""
    module_name, dot, function = name.rpartition(".")
    if not dot:
        problem = "not enough values to unpack (expected 2, got 1)"
        raise Fault("Runtime.MalformedHandlerName", "Bad handler '%s': %s" % (name, problem))
    dotted = module_name.replace("/", ".")
    if dotted.split(".")[0] in sys.builtin_module_names:
        text = "Cannot use built-in module %s as a handler module" % module_name
        raise Fault("Runtime.BuiltInModuleConflict", text)
    try:
        __import__(dotted)
        module = sys.modules[dotted]
    except ImportError as error:
        raise Fault("Runtime.ImportModuleError", "Unable to import module '%s': %s" % (module_name, error)) from None
    except SyntaxError as error:
        trace = ['  File "%s" Line %s\n    %s' % (error.filename, error.lineno, error.text)]
        text = "Syntax error in module '%s': %s" % (module_name, error)
        raise Fault("Runtime.UserCodeSyntaxError", text, trace) from None
    try:
        return getattr(module, function)
    except AttributeError:
        text = "Handler '%s' missing on module '%s'" % (function, module_name)
        raise Fault("Runtime.HandlerNotFound", text) from None


def call(handler, env, headers, body):
    """The handler's answer as JSON; bytes go as they are."""
    try:
        event = loads(body)
    except Exception as error:
        raise Fault("Runtime.UnmarshalError", "Unable to unmarshal input: %s" % error) from None
    answer = handler(event, LambdaContext(env, headers))
    if isinstance(answer, bytes):
        return answer
    try:
        return dumps(answer).encode("utf-8")
    except Exception as error:
        raise Fault("Runtime.MarshalError", "Unable to marshal response: %s" % error) from None


class State:
    request_id = None


def unusable(reason):
    """The snapshot that this process was to become is of no use: it starts as others do."""
    Client(os.environ["AWS_LAMBDA_RUNTIME_API"]).post("snapshot/unusable", reason.encode("utf-8", "replace"))


def main(state=None):
    """Runs the function; a zygote's fork comes with the state that its logging knows already."""
    env = os.environ
    order = env.pop("_SQUALL_SNAPSHOT", None)
    if order == "restore":
        # It could not be made of its snapshot.
        env["AWS_LAMBDA_INITIALIZATION_TYPE"] = "on-demand"
    makes_snapshot = order == "make"
    given = dict(os.environb) if makes_snapshot else None
    set_path(env, *(sys.argv[1:3] if len(sys.argv) > 2 else ("/opt", "")))
    sys.argv[1:] = []
    builtins.exit, builtins.quit = Quitter("exit"), Quitter("quit")
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, errors="backslashreplace")
    if state is None:
        state = State()
        sys.meta_path.insert(0, LoggingHook(state))
    client = Client(env["AWS_LAMBDA_RUNTIME_API"])
    try:
        handler = load(env.get("_HANDLER", ""))
    except Exception as error:
        fields = describe(error, "")
        print_error(fields)
        flush()
        client.post("init/error", dumps(fields).encode("utf-8", "backslashreplace"), fields["errorType"])
        sys.exit(1)
    if makes_snapshot:
        import _squall_snapshot

        client = _squall_snapshot.take(sys.modules[__name__], client, given)
    client.sock.sendall(client.get_next)
    while True:
        _, headers, body = client.read()
        state.request_id = headers.get("lambda-runtime-aws-request-id")
        trace = headers.get("lambda-runtime-trace-id")
        if trace:
            env["_X_AMZN_TRACE_ID"] = trace
        elif "_X_AMZN_TRACE_ID" in env:
            del env["_X_AMZN_TRACE_ID"]
        path, kind = "invocation/%s/response" % state.request_id, None
        try:
            answer = call(handler, env, headers, body)
        except Exception as error:
            fields = describe(error, state.request_id)
            print_error(fields)
            path, kind = "invocation/%s/error" % state.request_id, fields["errorType"]
            answer = dumps(fields).encode("utf-8", "backslashreplace")
        body = None
        flush()
        client.post(path, answer, kind, then_next=True)

