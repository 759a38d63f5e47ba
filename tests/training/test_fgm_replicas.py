import subprocess
import sys

SCRIPT = """
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

from training.fgm_models import LABELS, TOKENS, same, text_model, train, trainer_of, values

alone = text_model()
train(trainer_of(alone))
with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    model, plain, unperturbed = text_model(), text_model(), text_model()
    train(trainer_of(model))
    same(train(trainer_of(unperturbed, epsilon=0)), train(plain), 1e-6)
same(values(model.variables), values(alone.variables), 1e-5)
"""


def test_several_replicas_perturb_by_the_gradient_of_the_whole_batch(pytestconfig):
    subprocess.run([sys.executable, "-c", SCRIPT], check=True, cwd=pytestconfig.rootpath / "tests")
