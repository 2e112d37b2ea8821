import sys
from pathlib import Path

# pytest's import mode would hide helpers beside the tests.
sys.path.insert(0, str(Path(__file__).parent))
