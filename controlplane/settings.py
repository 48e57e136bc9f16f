"""Settings, all of them from the environment. `controlplane.checks` says what is wrong with them.

FLOTILLA_ENV is `production` (the default: refuses weak secrets) or `development` (embedded and tests).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import environ
import structlog

from controlplane.database.patience import CONNECT_SECONDS, pool_of

env = environ.Env()

BASE_DIR = Path(__file__).resolve().parent.parent
ENVIRONMENT = env.str("FLOTILLA_ENV", "production")
PRODUCTION = ENVIRONMENT != "development"
DEBUG = env.bool("FLOTILLA_DEBUG", False)

# A default that `controlplane.checks` refuses in production: Django needs one to start and say so.
INSECURE_SECRET_KEY = "insecure-development-key-refused-in-production"  # noqa: S105
# Set but empty is as good as not set.
SECRET_KEY = env.str("FLOTILLA_SECRET_KEY", "") or INSECURE_SECRET_KEY
# Comma-separated Fernet keys, newest first: the first encrypts, all decrypt.
CREDENTIALS_KEYS: list[str] = env.list("FLOTILLA_CREDENTIALS_KEYS", default=[])

PUBLIC_URL = env.str("FLOTILLA_PUBLIC_URL", "http://127.0.0.1:8000").rstrip("/")
ALLOWED_HOSTS: list[str] = env.list("FLOTILLA_ALLOWED_HOSTS", default=[] if PRODUCTION else ["127.0.0.1", "localhost"])
CSRF_FAILURE_VIEW = "apps.core.pages.views.csrf_failure"
CSRF_TRUSTED_ORIGINS: list[str] = env.list("FLOTILLA_TRUSTED_ORIGINS", default=[PUBLIC_URL])
DATA_DIR = Path(env.str("FLOTILLA_DATA_DIR", str(BASE_DIR / ".flotilla")))
ARTIFACTS_DIR = Path(env.str("FLOTILLA_ARTIFACTS_DIR", str(DATA_DIR / "artifacts")))
# A bucket instead of that folder: s3://bucket/prefix. Its credentials are the environment's own (AWS_ACCESS_KEY_ID …),
# and are no setting: only the library of the store reads them.
ARTIFACTS_URL = env.str("FLOTILLA_ARTIFACTS_URL", "")
ARTIFACTS_ENDPOINT = env.str("FLOTILLA_ARTIFACTS_ENDPOINT", "") or env.str("AWS_ENDPOINT_URL", "")
ARTIFACTS_REGION = env.str("FLOTILLA_ARTIFACTS_REGION", "") or env.str("AWS_REGION", "us-east-1")
# Networks (CIDR) in which a registered API server may live although they are private.
CLUSTER_ALLOWED_NETWORKS: list[str] = env.list(
    "FLOTILLA_CLUSTER_ALLOWED_NETWORKS",
    default=["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"] if PRODUCTION else ["127.0.0.0/8", "::1/128"],
)
# The same for the store of artifacts.
ARTIFACTS_ALLOWED_NETWORKS: list[str] = env.list(
    "FLOTILLA_ARTIFACTS_ALLOWED_NETWORKS", default=CLUSTER_ALLOWED_NETWORKS
)
# Runs on a cluster to ask whether its pods reach PUBLIC_URL: a shell, and python3, curl or wget.
REACH_IMAGE = env.str("FLOTILLA_REACH_IMAGE", "curlimages/curl:8.11.1")
# The image that serves a model version where a deployment names none, as clusters pull it: modelserver/Dockerfile.
MODEL_SERVER_IMAGE = env.str("FLOTILLA_MODEL_SERVER_IMAGE", "flotilla-model-server:2")
# Fetches the code of runs that name a git repository: a shell and git.
GIT_IMAGE = env.str("FLOTILLA_GIT_IMAGE", "alpine/git:2.47.2")
# Whether the commands of runs tell what is installed where they run before they begin.
LIST_PACKAGES = env.bool("FLOTILLA_LIST_PACKAGES", True)
# Where Flotilla itself is installed, where that is a cluster: no project's objects may live there.
NAMESPACE = env.str("FLOTILLA_NAMESPACE", "")

INSTALLED_APPS = [
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "controlplane.statics.StaticsConfig",
    "django_htmx",
    "template_partials",
    "django_structlog",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "apps.core",
    "apps.clusters",
    "apps.experiments",
    "apps.deployments",
    "apps.workflows",
    "controlplane.apps.ControlplaneConfig",
]
# Those of `apps.core.pages.middleware` are about browsers: a request with a token passes them by.
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "apps.core.pages.middleware.Compression",
    "csp.middleware.CSPMiddleware",
    "apps.core.pages.middleware.Sessions",
    "django.middleware.common.CommonMiddleware",
    "apps.core.pages.middleware.Csrf",
    "apps.core.pages.middleware.Authentication",
    "apps.core.pages.middleware.Messages",
    "apps.core.pages.middleware.OnlySent",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_structlog.middlewares.RequestMiddleware",
    "apps.core.pages.middleware.Htmx",
    "apps.core.pages.middleware.ErrorMiddleware",
]
ROOT_URLCONF = "controlplane.urls"
ASGI_APPLICATION = "controlplane.asgi.application"
TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "frontend" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "apps.core.pages.context.shell",
            ],
        },
    }
]

DATABASES = {"default": env.db("DATABASE_URL", "postgres://flotilla@127.0.0.1:5432/flotilla")}
DATABASES["default"]["ENGINE"] = "controlplane.database"
DB_POOL = env.bool("FLOTILLA_DB_POOL", False)
DATABASES["default"]["OPTIONS"] = {
    "connect_timeout": CONNECT_SECONDS if DB_POOL else 5,
    # A Postgres whose machine is gone closes no connection: without these a query on it waits for a quarter of an hour.
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
    # Hot statements are prepared (`core.database.prepared`), others never; a pooler in transaction mode may know no
    # such statements: then off.
    "prepare_threshold": 0 if env.bool("FLOTILLA_DB_PREPARE", True) else None,
    **DATABASES["default"].get("OPTIONS", {}),
}
if DB_POOL:
    # Web processes serve requests on many threads: a pool bounds their connections, and how long they wait.
    DATABASES["default"]["OPTIONS"]["pool"] = pool_of(
        env.int("FLOTILLA_DB_POOL_SIZE", 16), env.float("FLOTILLA_DB_STATEMENT_SECONDS", 5.0)
    )
else:
    DATABASES["default"]["CONN_MAX_AGE"] = env.int("FLOTILLA_DB_CONN_MAX_AGE", 300)
    # A connection that Postgres has closed meanwhile must cost no request: `controlplane.database` looks at it first,
    # without a pool only where this says so.
    DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
REDIS_URL = env.str("REDIS_URL", "redis://127.0.0.1:6379/0")
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": "cache",
        "OPTIONS": {"socket_timeout": 2, "socket_connect_timeout": 2},
    }
}

AUTH_USER_MODEL = "core.User"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "core:login"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "core:login"

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_I18N = False
FORMAT_MODULE_PATH = "controlplane.formats"
USE_TZ = True

STATIC_URL = "/static/"
STATIC_ROOT = Path(env.str("FLOTILLA_STATIC_ROOT", str(BASE_DIR / "staticfiles")))
STATICFILES_DIRS = [BASE_DIR / "frontend" / "static"]
STATICFILES_FINDERS = [
    "django.contrib.staticfiles.finders.FileSystemFinder",
    "django.contrib.staticfiles.finders.AppDirectoriesFinder",
    "apps.core.pages.finders.PackageFinder",
]
# Collected, compressed, and cached by browsers for good. Else, as in tests, they are looked up in their packages.
STATICS_COLLECTED = PRODUCTION or "FLOTILLA_STATIC_ROOT" in env.ENVIRON
WHITENOISE_USE_FINDERS = not STATICS_COLLECTED
# When each is asked for: not all of them by every test's client.
WHITENOISE_AUTOREFRESH = not STATICS_COLLECTED
WHITENOISE_KEEP_ONLY_HASHED_FILES = True
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "controlplane.statics.Statics"
        if STATICS_COLLECTED
        else "django.contrib.staticfiles.storage.StaticFilesStorage"
    },
}

SECURE_COOKIES = env.bool("FLOTILLA_SECURE_COOKIES", PUBLIC_URL.startswith("https://"))
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_COOKIES
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_HSTS_SECONDS = 31_536_000 if SECURE_COOKIES else 0
if env.bool("FLOTILLA_BEHIND_TLS_PROXY", False):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    # The admin panel: unfold uses Alpine, which evaluates attributes.
    "EXCLUDE_URL_PREFIXES": ("/admin/",),
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:", "blob:"],
        "font-src": ["'self'"],
        "connect-src": ["'self'"],
        "object-src": ["'none'"],
        "base-uri": ["'self'"],
        "frame-ancestors": ["'none'"],
        "form-action": ["'self'"],
    },
}
DATA_UPLOAD_MAX_MEMORY_SIZE = 4 * 1024 * 1024
# Requests that one web process works on at once, streams not counted. Many of them wait for Postgres or for a cluster.
WEB_THREADS = env.int("FLOTILLA_WEB_THREADS", 32)
# Largest artifact that a client may upload in one request, in bytes.
ARTIFACT_MAX_BYTES = env.int("FLOTILLA_ARTIFACT_MAX_BYTES", 5 * 1024**3)

# How long deleted runs, experiments and logged models can be restored: unless a project says otherwise, and the most
# that one may say.
BIN_DAYS = env.int("FLOTILLA_BIN_DAYS", 30)
BIN_MAX_DAYS = env.int("FLOTILLA_BIN_MAX_DAYS", 365)

# The rate at which one token, or one person's browser, may call the REST API and the MLflow API.
API_RATE = env.str("FLOTILLA_API_RATE", "6000/min")
MLFLOW_RATE = env.str("FLOTILLA_MLFLOW_RATE", "60000/min")
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "apps.core.api.authentication.BearerAuthentication",
        "apps.core.api.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["apps.core.api.permissions.DenyUnlessSignedIn"],
    "DEFAULT_PAGINATION_CLASS": "apps.core.api.pagination.CursorPage",
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["apps.core.api.parsing.Json"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "apps.core.api.problems.exception_handler",
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
    "DEFAULT_THROTTLE_CLASSES": ["apps.core.api.throttling.TokenThrottle"],
    "PAGE_SIZE": 50,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Flotilla",
    "DESCRIPTION": "One control plane for a fleet of ML clusters.",
    "VERSION": "v1",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": r"/api/v1",
    "SWAGGER_UI_DIST": "SIDECAR",
    # JavaScript: `FlotillaDocs` is in `frontend/static/flotilla/js/docs.js`. Numbers are legible in this theme of few.
    "SWAGGER_UI_SETTINGS": "{deepLinking: true, syntaxHighlight: {theme: 'nord'}, "
    "presets: [SwaggerUIBundle.presets.apis, FlotillaDocs]}",
    "REDOC_DIST": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.IsAuthenticated"],
    "PREPROCESSING_HOOKS": ["apps.core.api.schema.only_v1"],
    # Used by more than one component, so that no name follows from the field's.
    "ENUM_NAME_OVERRIDES": {
        "RunKindEnum": "apps.experiments.models.RUN_KINDS",
        "RunStateEnum": "apps.experiments.models.RUN_STATES",
        "HealthEnum": "apps.deployments.models.observed.HEALTHS",
        "DeploymentHealthEnum": "apps.deployments.health.WORDS",
        "DeploymentStateEnum": "apps.deployments.models.DEPLOYMENT_STATES",
        "RolloutStateEnum": "apps.deployments.models.rollouts.ROLLOUT_STATES",
        "PipelineRunStateEnum": "apps.workflows.models.RUN_STATES",
        "StepStateEnum": "apps.workflows.models.STEP_STATES",
        "StepKindEnum": "apps.workflows.models.KINDS",
        "AnalysisOutcomeEnum": "apps.deployments.models.rollouts.ANALYSIS_STATES",
    },
}

CELERY_BROKER_URL = REDIS_URL
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# For as long as it takes: without Redis the threads of a worker do all that they do with it, a second later.
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "socket_timeout": 10,
    "socket_connect_timeout": 3,
}
CELERY_TASK_IGNORE_RESULT = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
# A task is a ring of the bell, nothing more: the threads of `core.work` do what is due, in the worker's own process.
CELERY_WORKER_POOL = "threads"
CELERY_WORKER_CONCURRENCY = 2
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TIMEZONE = "UTC"
# Threads of one worker process, and how many of all workers' may be at one cluster at a time. A person who waits at a
# page has threads apart. A thread that waits for a cluster costs little; with half as many, a few clusters that hang
# took every second thread from those that are well.
WORK_THREADS = env.int("FLOTILLA_WORK_THREADS", 32)
WORK_PER_CLUSTER = env.int("FLOTILLA_WORK_PER_CLUSTER", 12)
WORK_PERSON_THREADS = env.int("FLOTILLA_WORK_PERSON_THREADS", 4)

# `apps.core.pages.middleware.name_the_peer` does it: the package believes forwarding headers, which anyone can send.
DJANGO_STRUCTLOG_IP_LOGGING_ENABLED = False
# Everything is rendered to one line here and leaves through the console handler, which masks secrets. No fancy
# tracebacks: they print local variables, and with them credentials.
structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.filter_by_level,
        structlog.processors.format_exc_info,
        structlog.processors.KeyValueRenderer(key_order=["event"]),
    ],
    logger_factory=structlog.stdlib.LoggerFactory(),
    wrapper_class=structlog.stdlib.BoundLogger,
    cache_logger_on_first_use=True,
)
LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"scrub": {"()": "apps.core.secrets.scrub.ScrubFilter"}},
    "formatters": {"plain": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "plain", "filters": ["scrub"]}},
    "root": {"handlers": ["console"], "level": env.str("FLOTILLA_LOG_LEVEL", "INFO")},
    # The last one tells each letter of a font.
    "loggers": {name: {"level": "WARNING"} for name in ("django_structlog", "httpx", "fontTools")},
}
# The accent of the dashboard (`frontend/static/flotilla/css/tokens.css`), in the steps that unfold asks for.
_ACCENT = {
    "50": "oklch(97% .014 262)",
    "100": "oklch(94% .03 262)",
    "200": "oklch(88% .06 262)",
    "300": "oklch(80% .1 262)",
    "400": "oklch(70% .15 262)",
    "500": "oklch(66% .17 262)",
    "600": "oklch(52% .21 262)",
    "700": "oklch(46% .2 262)",
    "800": "oklch(40% .17 262)",
    "900": "oklch(35% .13 262)",
    "950": "oklch(27% .09 262)",
}


def _static(name: str) -> Callable[[Any], str]:
    def address(request: Any) -> str:
        from django.templatetags.static import static  # which reads these settings

        return static(name)

    return address


UNFOLD = {
    "SITE_TITLE": "Flotilla",
    "SITE_HEADER": "Flotilla",
    "SITE_ICON": _static("flotilla/img/flotilla.svg"),
    "SITE_URL": "/",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": _static("flotilla/img/flotilla.svg")}],
    "STYLES": [_static("flotilla/css/admin.css")],
    "SHOW_HISTORY": False,
    "COLORS": {"primary": _ACCENT},
}
