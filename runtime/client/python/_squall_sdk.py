"""Keeps boto3 warm in a zygote: parsed models, a default session, clients and resources that functions find made.

What a client is depends on the service, on the environment and on credentials. The environment is compared when a function asks
for one, credentials are put in then. Whatever else differs (arguments, a session of the function's own, handlers that it
registered) makes a client the usual way, only without parsing models again.
"""

import functools
import os

# Whose models are kept parsed.
SERVICES = ("dynamodb", "s3", "sqs", "sns", "lambda", "events", "secretsmanager", "ssm", "sts", "kms", "stepfunctions", "logs")
# What functions make most, made beforehand.
CLIENTS = ("dynamodb", "s3", "sqs", "sns", "lambda", "events", "secretsmanager", "ssm", "sts")
RESOURCES = ("dynamodb", "s3")
KEY = {"AWS_ACCESS_KEY_ID": "access_key", "AWS_SECRET_ACCESS_KEY": "secret_key", "AWS_SESSION_TOKEN": "token"}
OTHERS = {"HOME", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"}


def bears(name):
    """Whether a variable of the environment has a say in what a client is."""
    if name.startswith(("AWS_", "BOTO")):
        return name not in KEY and not name.startswith(("AWS_LAMBDA_", "AWS_XRAY_"))
    return name in OTHERS or name.lower().endswith("_proxy")


def environment():
    return {name: value for name, value in os.environ.items() if bears(name)}


def share_models(loaders, session):
    """Sessions with the same search path share what has been parsed: the models are data that no client changes."""
    shared = {}

    class Loader(loaders.Loader):
        @property
        def _cache(self):
            return shared.setdefault(tuple(self._search_paths), {})

        @_cache.setter
        def _cache(self, value):
            pass

    Loader.__name__, Loader.__qualname__, Loader.__module__ = "Loader", "Loader", loaders.__name__
    create = loaders.create_loader

    @functools.wraps(create)
    def create_loader(search_path_string=None):
        made = create(search_path_string)
        if not search_path_string and type(made) is loaders.Loader:
            made.__class__ = Loader
        return made

    loaders.create_loader = session.create_loader = create_loader


class Stock:
    """What was made beforehand; each is handed out once."""

    def __init__(self, boto3, botocore):
        self.boto3, self.botocore = boto3, botocore
        self.spare = botocore.session.get_session()
        self.session = boto3.session.Session()
        self.made = {}
        for service in CLIENTS:
            self.add("client", service)
        for service in RESOURCES:
            self.add("resource", service)
        self.core = self.session._session
        self.emitter = self.core._original_handler
        # Replaced whenever a handler is registered.
        self.seal = self.emitter._lookup_cache
        self.built_in = list(botocore.handlers.BUILTIN_HANDLERS)
        self.initializers = list(botocore._INITIALIZERS)
        self.environment = environment()

    def add(self, kind, service):
        try:
            self.made[kind, service] = getattr(self.session, kind)(service)
        except Exception:
            # An SDK that lacks the service.
            pass

    def is_plain(self):
        """Whether a session made now would be like those made beforehand."""
        same = self.botocore.handlers.BUILTIN_HANDLERS == self.built_in
        return same and list(self.botocore._INITIALIZERS) == self.initializers

    def take_core(self):
        core, self.spare = self.spare, None
        return core if core is not None and self.is_plain() else None

    def take_session(self):
        """The default session with this process's credentials in all its clients."""
        session, self.session = self.session, None
        if session is None or not self.is_plain() or environment() != self.environment:
            return None
        values = {field: os.environ.get(name) for name, field in KEY.items()}
        if not values["access_key"] or not values["secret_key"]:
            return None
        for field, value in values.items():
            setattr(self.core._credentials, field, value)
        return session

    def take(self, kind, session, service):
        if session._session is not self.core or self.emitter._lookup_cache is not self.seal:
            return None
        made = self.made.pop((kind, service), None)
        if made is None or environment() != self.environment:
            return None
        return made


def load():
    """Loads boto3 and fills the stock; raises what its import raises."""
    import boto3
    import boto3.dynamodb.conditions  # noqa: F401
    import boto3.dynamodb.types  # noqa: F401
    import boto3.session
    import botocore.handlers
    import botocore.loaders
    import botocore.session

    share_models(botocore.loaders, botocore.session)
    # Credentials of nobody: a stand-in for each function's own.
    os.environ.update({name: "none" for name in KEY})
    try:
        session = boto3.session.Session()
        for service in SERVICES:
            try:
                session.client(service)
            except Exception:
                # An SDK that lacks the service.
                continue
        stock = Stock(boto3, botocore)
    except Exception:
        # An SDK of other ways: functions make everything themselves.
        return
    finally:
        for name in KEY:
            del os.environ[name]
    if type(getattr(stock.core, "_credentials", None)) is botocore.credentials.Credentials:
        hand_out(stock)


def hand_out(stock):
    boto3, botocore = stock.boto3, stock.botocore
    get_session, default = botocore.session.get_session, boto3._get_default_session

    @functools.wraps(get_session)
    def spare_session(env_vars=None):
        core = stock.take_core() if env_vars is None else None
        return get_session(env_vars) if core is None else core

    @functools.wraps(default)
    def default_session():
        if boto3.DEFAULT_SESSION is None and stock.session is not None:
            boto3.DEFAULT_SESSION = stock.take_session()
        return default()

    def ready_made(kind):
        make = getattr(boto3.session.Session, kind)

        @functools.wraps(make)
        def take(self, *args, **kwargs):
            if len(args) == 1 and not kwargs and type(args[0]) is str:
                made = stock.take(kind, self, args[0])
                if made is not None:
                    return made
            return make(self, *args, **kwargs)

        setattr(boto3.session.Session, kind, take)

    botocore.session.get_session = spare_session
    boto3._get_default_session = default_session
    for kind in ("client", "resource"):
        ready_made(kind)
