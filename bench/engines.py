"""The inference engines: forward only, float32 only, weights prepared before the timing."""

from __future__ import annotations

import importlib
import tempfile
from pathlib import Path

import numpy as np
from library import Library, Refusal, Way


def onnx_model(problem):
    """A model of one Conv whose weights are constants, serialized."""
    from onnx import helper, numpy_helper

    layer = problem.layer
    element = helper.np_dtype_to_tensor_dtype(problem.dtype)
    node = helper.make_node(
        "Conv",
        ["x", "w", "b"],
        ["y"],
        strides=layer.stride,
        pads=layer.padding * 2,
        dilations=layer.dilation,
        group=layer.groups,
    )
    graph = helper.make_graph(
        [node],
        layer.name,
        [helper.make_tensor_value_info("x", element, layer.x_shape)],
        [helper.make_tensor_value_info("y", element, layer.y_shape)],
        [numpy_helper.from_array(problem.w, "w"), numpy_helper.from_array(problem.b, "b")],
    )
    opset = [helper.make_opsetid("", 13)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8)
    return model.SerializeToString()


class OnnxRuntime(Library):
    """Weights are initializers, so the session packs them once; input and output are bound once."""

    name, modules = "onnxruntime", ("onnxruntime", "onnx")
    distributions, ops, dtypes = modules, ("forward",), ("float32",)

    def _ways(self, problem):
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = problem.threads
        options.inter_op_num_threads = 1
        session = ort.InferenceSession(
            onnx_model(problem), options, providers=["CPUExecutionProvider"]
        )
        binding = session.io_binding()
        y = ort.OrtValue.ortvalue_from_shape_and_type(list(problem.layer.y_shape), problem.dtype)
        binding.bind_ortvalue_input("x", ort.OrtValue.ortvalue_from_numpy(problem.x))
        binding.bind_ortvalue_output("y", y)
        return [
            Way("bound", lambda: session.run_with_iobinding(binding), lambda _: (y.numpy(),)),
        ]


class OpenVINO(Library):
    name, modules = "openvino", ("openvino", "onnx")
    distributions, ops, dtypes = modules, ("forward",), ("float32",)

    def _ways(self, problem):
        import openvino

        settings = {
            "INFERENCE_NUM_THREADS": problem.threads,
            "INFERENCE_PRECISION_HINT": "f32",
            "NUM_STREAMS": 1,
        }
        core = openvino.Core()
        compiled = core.compile_model(core.read_model(onnx_model(problem)), "CPU", settings)
        request = compiled.create_infer_request()
        x = openvino.Tensor(problem.x, shared_memory=True)
        request.set_input_tensor(x)
        return [Way("shared", request.infer, lambda _: (request.get_output_tensor().data.copy(),))]


class Ncnn(Library):
    """One image at a time: ncnn has no batch axis. Float32 throughout, all its algorithms on."""

    name, modules, distributions = "ncnn", ("ncnn",), ("ncnn",)
    ops, dtypes = ("forward",), ("float32",)

    def _ways(self, problem):
        import ncnn

        net = ncnn.Net()
        net.opt.num_threads = problem.threads
        for lossy in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage"):
            setattr(net.opt, "use_" + lossy, False)
        with tempfile.TemporaryDirectory() as folder:
            param, model = str(Path(folder, "conv.param")), Path(folder, "conv.bin")
            Path(param).write_text(self._param(problem))
            model.write_bytes(b"\0" * 4 + problem.w.tobytes() + problem.b.tobytes())
            if net.load_param(param) or net.load_model(str(model)):
                raise Refusal("ncnn cannot load the layer")
        images = [ncnn.Mat(image) for image in problem.x]

        def run():
            results = []
            for image in images:
                extractor = net.create_extractor()
                extractor.input("x", image)
                status, y = extractor.extract("y")
                if status:
                    raise Refusal(f"ncnn returned status {status}")
                results.append(y)
            return results

        def to_arrays(result):
            return (np.stack([np.array(y) for y in result]).reshape(problem.layer.y_shape),)

        return [Way("float32", run, to_arrays)]

    @staticmethod
    def _param(problem):
        """The text format of ncnn: magic number, counts of layers and blobs, one line a layer."""
        layer = problem.layer
        kind = "Convolution" if layer.groups == 1 else "ConvolutionDepthWise"
        kind += "3D" * (len(layer.size) == 3)
        values = {0: layer.K, 5: 1, 6: problem.w.size}
        geometry = layer.kernel, layer.dilation, layer.stride, layer.padding
        for key, sizes in enumerate(geometry, 1):  # x, 10 on y, 20 on z
            values |= {key + 10 * axis: size for axis, size in enumerate(reversed(sizes))}
        if layer.groups > 1:
            values[7] = layer.groups
        spec = " ".join(f"{key}={value}" for key, value in values.items())
        return f"7767517\n2 2\nInput x 0 1 x\n{kind} conv 1 1 x y {spec}\n"


class Mnn(Library):
    """Converted from ONNX, since only then are the weights constants, which Winograd needs.

    The converter is the extension module behind the mnnconvert script. The script itself is
    avoided: its logger installs packages and sends usage reports.
    """

    name, modules, distributions = "mnn", ("MNN", "_tools", "onnx"), ("MNN", "onnx")
    ops, dtypes = ("forward",), ("float32",)

    def _ways(self, problem):
        import MNN

        converter = importlib.import_module("_tools")
        with tempfile.TemporaryDirectory() as folder:
            source, model = str(Path(folder, "conv.onnx")), str(Path(folder, "conv.mnn"))
            Path(source).write_bytes(onnx_model(problem))
            arguments = ["-f", "ONNX", "--modelFile", source, "--MNNModel", model]
            if not converter.mnnconvert(["mnnconvert", *arguments]):
                raise Refusal("MNN cannot convert the layer")
            return [self._session(MNN, problem, model), self._module(problem, model)]

    @staticmethod
    def _session(MNN, problem, model):
        """Input and output are copied in each call: a session reuses the memory of its input."""
        interpreter = MNN.Interpreter(model)
        settings = {"backend": "CPU", "numThread": problem.threads, "precision": "high"}
        session = interpreter.createSession(settings)
        y = np.zeros(problem.layer.y_shape, np.float32)
        host_x, host_y = (
            MNN.Tensor(a.shape, MNN.Halide_Type_Float, a, MNN.Tensor_DimensionType_Caffe)
            for a in (problem.x, y)
        )

        def run():
            interpreter.getSessionInput(session).copyFrom(host_x)
            interpreter.runSession(session)
            interpreter.getSessionOutput(session).copyToHostTensor(host_y)

        return Way("session", run, lambda _: (np.array(host_y.getNumpyData()).reshape(y.shape),))

    @staticmethod
    def _module(problem, model):
        import MNN.expr as expr
        import MNN.nn as nn

        module = nn.load_module_from_file(
            model,
            ["x"],
            ["y"],
            precision_mode=expr.PrecisionMode.High,
            thread_num=problem.threads,
        )
        x = expr.const(problem.x, list(problem.x.shape), expr.NCHW)

        def to_arrays(y):
            return (np.array(y).reshape(problem.layer.y_shape),)

        return Way("module", lambda: module.forward(x).read(), to_arrays)
