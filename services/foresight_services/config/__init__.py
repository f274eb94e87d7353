"""The one configuration file, decoded strictly into frozen types.

`foresight.yaml` holds everything but secrets. An unknown key, a wrong type and a name that leads
nowhere are errors that give the path of the field and what would be right. The environment holds
`FORESIGHT_CONFIG`, the file's path, and `FORESIGHT_TOKEN`, the secret that calls must carry; any
other `FORESIGHT_` variable is an error, because it was meant to do something. Keys of hosted models
are in the variables that the models' sections name.
"""

from foresight_services.config.load import ENVIRONMENT, load_config, parse_config, with_secrets
from foresight_services.config.models import BuiltinModelConfig, ModelConfig
from foresight_services.config.recording import RecordingConfig
from foresight_services.config.root import (
    Config,
    RolesConfig,
    ServiceConfig,
    ServicesConfig,
    SimulatorConfig,
    TlsConfig,
    TwentyQuestionsConfig,
    WorldsConfig,
)

__all__ = [
    "ENVIRONMENT",
    "BuiltinModelConfig",
    "Config",
    "ModelConfig",
    "RecordingConfig",
    "RolesConfig",
    "ServiceConfig",
    "ServicesConfig",
    "SimulatorConfig",
    "TlsConfig",
    "TwentyQuestionsConfig",
    "WorldsConfig",
    "load_config",
    "parse_config",
    "with_secrets",
]
