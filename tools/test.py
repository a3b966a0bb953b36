"""Same as tools/test.py of the package that the config belongs to: MMPretrain or MMDetection."""
from host import run_host_script

if __name__ == '__main__':
    run_host_script('test.py')
