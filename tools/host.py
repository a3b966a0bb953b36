"""Find the script of the OpenMMLab package that a config belongs to."""
import runpy
import sys
from importlib.util import find_spec
from pathlib import Path

from mmengine.config import Config


def run_host_script(name: str) -> None:
    """Run ``tools/{name}`` of the package in the config's ``default_scope``, with this process's arguments.

    Raises:
        SystemExit: No config among the arguments, or a package that is not installed.
    """
    config = next((argument for argument in sys.argv[1:] if argument.endswith('.py')), None)
    if config is None:
        sys.exit(f'usage: {sys.argv[0]} CONFIG.py ...; the other arguments are those of its package\'s '
                 f'tools/{name}')
    scope = Config.fromfile(config).get('default_scope', 'mmengine')
    spec = find_spec(scope)
    if spec is None or spec.origin is None:
        sys.exit(f'{config} belongs to {scope}, which is not installed')
    script = Path(spec.origin).parent / '.mim' / 'tools' / name
    if not script.exists():
        sys.exit(f'{config} belongs to {scope}, which has no {script}')
    runpy.run_path(str(script), run_name='__main__')
