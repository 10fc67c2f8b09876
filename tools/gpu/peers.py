#!/usr/bin/env python3
"""What PyTorch takes for the same network on the same GPU: eager, a CUDA graph of it, and torch.compile (max-autotune, which uses graphs).

DenseNet-121 + sigmoid attention + bidirectional LSTM 256, random weights, noise, channels-last fp16; needs torch alone. One line of JSON per
variant and size on standard output. device_ms: median of CUDA events around the call, inputs taking turns; host_ms: from a float32 tensor in
pinned host memory to probabilities on the host. `--device cpu` runs the eager variant in float32, to try the script where there is no GPU.
"""
import argparse
import json
import statistics
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

GROWTH, WIDTH, LAYERS, HIDDEN = 32, 128, (6, 12, 24, 16), 256


class Layer(nn.Module):
    def __init__(self, inputs):
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, WIDTH, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(WIDTH)
        self.conv2 = nn.Conv2d(WIDTH, GROWTH, 3, padding=1, bias=False)

    def forward(self, x):
        return torch.cat((x, self.conv2(F.relu(self.norm2(self.conv1(F.relu(self.norm1(x))))))), 1)


def network(channels=3):
    """The features of DenseNet-121, then attention, recurrence and classifier."""
    stages, width = [nn.Conv2d(channels, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)], 64
    for block, layers in enumerate(LAYERS):
        stages += [Layer(width + GROWTH * i) for i in range(layers)]
        width += GROWTH * layers
        if block + 1 < len(LAYERS):
            stages += [nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, width // 2, 1, bias=False), nn.AvgPool2d(2)]
            width //= 2
    return Network(nn.Sequential(*stages, nn.BatchNorm2d(width), nn.ReLU()), width)


class Network(nn.Module):
    def __init__(self, features, width):
        super().__init__()
        self.features = features
        self.attention = nn.Conv2d(width, 1, 1)
        self.rnn = nn.LSTM(width, HIDDEN, batch_first=True, bidirectional=True)
        self.classifier = nn.Linear(2 * HIDDEN, 1)

    def forward(self, x):
        features = self.features(x)
        weights = torch.sigmoid(self.attention(features))
        pooled = (weights * features).sum((2, 3)) / (weights.sum((2, 3)) + 1e-6)
        states, _ = self.rnn(pooled.unsqueeze(0))
        return torch.sigmoid(self.classifier(states[0]))


def graphed(model, example):
    """A CUDA graph of the model; the input is copied into the graph's own."""
    static = example.clone(memory_format=torch.channels_last)
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        for _ in range(3):
            model(static)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = model(static)

    def run(x):
        static.copy_(x)
        graph.replay()
        return result

    return run


def compiled(model, _example):
    import torch._inductor.config as inductor

    inductor.freezing = True
    return torch.compile(model, mode="max-autotune")


VARIANTS = {"eager": lambda model, _: model, "graph": graphed, "compile": compiled}


def device_times(run, inputs, repetitions):
    for i in range(10):
        run(inputs[i % len(inputs)])
    torch.cuda.synchronize()
    times = []
    for i in range(repetitions):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        run(inputs[i % len(inputs)])
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end))
    return times


def host_times(run, host, place, repetitions):
    times = []
    for _ in range(repetitions):
        start = time.perf_counter()
        run(place(host)).cpu()
        times.append((time.perf_counter() - start) * 1e3)
    return times


def measure(variant, device, slices, size, repetitions):
    on_gpu = device == "cuda"
    dtype = torch.float16 if on_gpu else torch.float32
    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = True

    def place(x):
        return x.to(device, non_blocking=True).to(dtype).contiguous(memory_format=torch.channels_last)

    began = time.perf_counter()
    model = network().eval().to(device).to(dtype).to(memory_format=torch.channels_last)
    host = torch.randn(slices, 3, size, size)
    host = host.pin_memory() if on_gpu else host
    inputs = [place(torch.randn(slices, 3, size, size)) for _ in range(4)]
    with torch.inference_mode():
        run = VARIANTS[variant](model, inputs[0])
        run(inputs[0]).cpu()
        first = time.perf_counter() - began
        result = {"engine": f"torch-{variant}", "torch": torch.__version__, "device": torch.cuda.get_device_name() if on_gpu else "cpu",
                  "dtype": str(dtype).split(".")[-1], "slices": slices, "size": size, "first_result_s": round(first, 2)}
        if on_gpu:
            times = device_times(run, inputs, repetitions)
            result |= {"device_ms": round(statistics.median(times), 4), "least_device_ms": round(min(times), 4)}
        ends = host_times(run, host, place, max(3, repetitions // 5))
        result["host_ms"] = round(statistics.median(ends), 4)
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--variants", default="eager,graph,compile")
    parser.add_argument("--sizes", default="256,512")
    parser.add_argument("--slices", type=int, default=32)
    parser.add_argument("--repetitions", type=int, default=50)
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        sys.exit("this PyTorch sees no GPU")
    variants = ["eager"] if arguments.device == "cpu" else arguments.variants.split(",")
    failed = 0
    for variant in variants:
        for size in map(int, arguments.sizes.split(",")):
            try:
                print(json.dumps(measure(variant, arguments.device, arguments.slices, size, arguments.repetitions)), flush=True)
            except RuntimeError as error:
                failed += 1
                print(f"{variant} at {size}: {error}", file=sys.stderr)
    return failed


if __name__ == "__main__":
    sys.exit(main())
