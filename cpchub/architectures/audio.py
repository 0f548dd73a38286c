"""The encoder of CPC for sound: five strided convolutions over the waveform, and a GRU over what they give.

Van den Oord et al., arXiv 1807.03748, section 3.1: strides 5, 4, 2, 2, 2 and filters of 10, 8, 4, 4, 4 samples make a
z of every 160 samples (10 ms at 16 kHz), a GRU makes a c of all z so far. The paper is silent on the padding: here that
of Greedy InfoMax (loeweX/Greedy_InfoMax), which keeps a window of 20,480 samples at 128 steps.

To timm and to a Hub repository, sound is an image one row high: `[B, 1, 1, samples]` in, `[B, D, 1, steps]` out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn

from cpchub.errors import ArgumentError


class CpcAudio(nn.Module):
    """Waveforms to the sequence of c_t, `[B, context, 1, steps]`; pooled, its mean over time.

    channels: of every convolution, the length of z. context: units of the GRU, the length of c.
    global_pool: "avg", "max", "last" (the c that has heard everything), or "" for the sequence.
    """

    def __init__(
        self,
        channels: int = 512,
        context: int = 256,
        strides: Sequence[int] = (5, 4, 2, 2, 2),
        kernels: Sequence[int] = (10, 8, 4, 4, 4),
        paddings: Sequence[int] = (2, 2, 2, 2, 1),
        num_classes: int = 0,
        in_chans: int = 1,
        global_pool: str = "avg",
    ) -> None:
        super().__init__()
        if not len(strides) == len(kernels) == len(paddings):
            raise ArgumentError(
                f"strides {tuple(strides)}, kernels {tuple(kernels)} and paddings {tuple(paddings)} differ in length; "
                "each has one entry a convolution"
            )
        if in_chans != 1:
            raise ArgumentError(f"in_chans is {in_chans}; this network hears one channel")
        self.layers = tuple(zip(strides, kernels, paddings, strict=True))
        self.channels, self.num_features, self.head_hidden_size = channels, context, context
        self.encoder = nn.Sequential()
        width = in_chans
        for stride, kernel, padding in self.layers:
            convolution = nn.Conv1d(width, channels, kernel, stride, padding)
            nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")  # without norm the scale has to last
            if convolution.bias is not None:
                nn.init.zeros_(convolution.bias)
            self.encoder.append(convolution)
            self.encoder.append(nn.ReLU(inplace=True))
            width = channels
        self.context = nn.GRU(channels, context, batch_first=True)
        self.feature_info = [{"num_chs": context, "reduction": self.hop, "module": "context"}]
        self.reset_classifier(num_classes, global_pool)

    @property
    def hop(self) -> int:
        """Samples from one step to the next."""
        hop = 1
        for stride, _, _ in self.layers:
            hop *= stride
        return hop

    @property
    def receptive_field(self) -> int:
        """Samples that one z sees."""
        field = 1
        for stride, kernel, _ in reversed(self.layers):
            field = (field - 1) * stride + kernel
        return field

    def steps(self, samples: int) -> int:
        """How many steps so many samples become."""
        for stride, kernel, padding in self.layers:
            samples = (samples + 2 * padding - kernel) // stride + 1
        return samples

    def encode_steps(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Waveforms `[B, samples]`, `[B, 1, samples]` or `[B, 1, 1, samples]` to z `[B, steps, channels]` and c.

        c is `[B, steps, context]`; c_t has heard z up to and with t. Raises `ArgumentError` for a waveform shorter than
        what one z sees.
        """
        samples = x.shape[-1]
        if samples < self.receptive_field:
            kernels = ", ".join(f"{kernel}/{stride}" for stride, kernel, _ in self.layers)
            raise ArgumentError(
                f"{samples} samples are shorter than the receptive field of {self.receptive_field} (convolutions of "
                f"length/stride {kernels}); give at least {self.receptive_field} samples"
            )
        z = self.encoder(x.reshape(len(x), 1, samples)).transpose(1, 2)
        c, _ = self.context(z)
        return z, c

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(x))

    def forward_features(self, x: Tensor) -> Tensor:
        """The sequence of c_t, `[B, context, 1, steps]`."""
        return self.encode_steps(x)[1].transpose(1, 2).unsqueeze(2)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Pool `[B, context, 1, steps]` over time; then classify it, unless `pre_logits`."""
        if self.global_pool == "avg":
            x = x.mean((2, 3))
        elif self.global_pool == "max":
            x = x.amax((2, 3))
        elif self.global_pool == "last":
            x = x[:, :, 0, -1]
        if pre_logits:
            return x
        logits: Tensor = self.fc(x)
        return logits

    def forward_intermediates(self, x: Tensor, *args: Any, intermediates_only: bool = False, **kwargs: Any) -> Any:
        """timm's form of `forward_features`: the sequence is the only map there is."""
        features = self.forward_features(x)
        return [features] if intermediates_only else (features, [features])

    def get_classifier(self) -> nn.Module:
        return self.fc

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        if global_pool is not None:
            if global_pool not in ("avg", "max", "last", ""):
                raise ArgumentError(f"global_pool is {global_pool!r}; use 'avg', 'max', 'last' or ''")
            self.global_pool = global_pool
        self.num_classes = num_classes
        self.fc: nn.Module = nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()


default_cfgs = generate_default_cfgs(
    {
        "cpc_audio.untrained": {
            "url": "",
            "num_classes": 0,
            "input_size": (1, 1, 20480),
            "mean": (0.0,),
            "std": (1.0,),
            "first_conv": "encoder.0",
            "classifier": "fc",
        }
    }
)


@register_model
def cpc_audio(pretrained: bool = False, **kwargs: Any) -> CpcAudio:
    """The encoder of CPC on speech: 512 channels of z, 256 of c."""
    return build_model_with_cfg(CpcAudio, "cpc_audio", pretrained, feature_cfg={"feature_cls": "getter"}, **kwargs)
