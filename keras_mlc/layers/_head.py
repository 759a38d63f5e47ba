"""What the heads share: how they are configured, quantized and loaded."""

from typing import Any

import keras


class Head(keras.layers.Layer):
    """A layer with dense sublayers, which may have been quantized before it was saved."""

    dense_layers: tuple[str, ...] = ()
    """Names of the attributes that hold them."""

    def get_config(self) -> dict[str, Any]:
        """Return the initializers, regularizers and constraints of the constructor."""
        kinds = "_initializer", "_regularizer", "_constraint"
        arguments = {name: value for name, value in vars(self).items() if name.endswith(kinds)}
        serialized = map(keras.saving.serialize_keras_object, arguments.values())
        return {**super().get_config(), **dict(zip(arguments, serialized, strict=True))}

    def policy_of(self, name: str) -> Any:
        """Return the dtype policy with which to build a dense sublayer."""
        return getattr(self, "_policies", {}).get(name, self.dtype_policy)

    def get_build_config(self) -> dict[str, Any]:
        """Return what `build` needs: the shape of the inputs, and which sublayers are quantized."""
        config = dict(super().get_build_config() or {})
        quantized = {
            name: keras.dtype_policies.serialize(layer.dtype_policy)
            for name in self.dense_layers
            if (layer := getattr(self, name, None)) is not None and layer.quantization_mode
        }
        return {**config, "quantized": quantized} if quantized else config

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Build the layer with the sublayers that were quantized."""
        quantized = dict(config).pop("quantized", {})
        self._policies = {
            name: keras.dtype_policies.deserialize(policy) for name, policy in quantized.items()
        }
        super().build_from_config({key: config[key] for key in config if key != "quantized"})
