"""Workspace: what calls hold beside their arguments and results."""

import subprocess
import sys
from pathlib import Path

import pytest

# x shape, w shape, options
LARGE = {
    "deep": ((1, 2048, 9, 9), (96, 2048, 5, 5), {}),
    "wide": ((1, 16, 12, 12), (40_000, 16, 3, 3), {}),
    "many_groups": ((2, 20_000, 5, 5), (20_000, 1, 3, 3), {"groups": 20_000}),
    "large_image": ((1, 8, 1000, 1000), (2, 8, 3, 3), {"padding": 1}),
    "small_weights_of_large_images": ((2, 64, 300, 300), (64, 64, 3, 3), {"padding": 1}),
    "long_line": ((1, 4, 1_000_000), (2, 4, 9), {}),
    "far_taps": ((1, 2, 3_000_000), (2, 2, 3), {"dilation": 1_000_000}),
    "wide_stride": ((1, 2, 2000, 2000), (4, 2, 50, 50), {"stride": 50}),
    "one_huge_window": ((1, 300, 100, 100), (2, 300, 100, 100), {}),
    "packed_weights": ((2, 512, 7, 7), (512, 512, 3, 3), {"padding": 1}),
    "large_weights": ((2, 1024, 7, 7), (1024, 1024, 3, 3), {"padding": 1}),
}

# Peak resident memory since the counter was reset, less what was resident then and is returned.
MEASURE = """
import sys, numpy as np, fastconv

def status(name):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith(name))

def workspace(call):
    open("/proc/self/clear_refs", "w").write("5")
    before = status("VmRSS")
    results = call()
    return status("VmHWM") - before - sum(array.nbytes for array in results)

x_shape, w_shape, options = eval(sys.argv[1])
fastconv.set_num_threads(1)
x, w = np.ones(x_shape, np.float32), np.ones(w_shape, np.float32)
y = np.ones(fastconv.conv_output_shape(x_shape, w_shape, **options), np.float32)
tiny = np.ones((1, 1, 1), np.float32)
fastconv.conv_backward(fastconv.conv_forward(tiny, tiny), tiny, tiny)
print(workspace(lambda: [fastconv.conv_forward(x, w, **options)]))
for need in ("dx", "dw"):
    print(workspace(lambda: [getattr(fastconv.conv_backward(y, x, w, need=need, **options), need)]))
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="reads Linux's counters")
@pytest.mark.parametrize("name", LARGE)
def test_workspace_is_at_most_16_mib_a_thread(name):
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, repr(LARGE[name])], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert max(map(int, done.stdout.split())) <= 16 << 20
