"""File trees of Jetsons, made by hand after NVIDIA's and the kernel's documentation.

No Jetson wrote them.
"""

GPU = "sys/class/devfreq/17000000.gpu"
CPU = "sys/devices/system/cpu/cpufreq"
THERMAL = "sys/class/thermal"

ORIN_STEPS = (306, 408, 510, 612, 714, 816, 918, 1020)  # [MHz]
CPU_STEPS = (115.2, 729.6, 1190.4, 1510.4, 1728.0)

NVPMODEL_CONF = """
###########################
# POWER_MODEL DEFINITIONS #
###########################
< PARAM TYPE=CLOCK NAME=GPU >
FREQ_TABLE /sys/devices/platform/17000000.gpu/devfreq_dev/available_frequencies
MAX_FREQ /sys/devices/platform/17000000.gpu/devfreq_dev/max_freq

< POWER_MODEL ID=0 NAME=15W >
CPU_ONLINE CORE_0 1
CPU_A78_0 MAX_FREQ 1497600
GPU MIN_FREQ 0
GPU MAX_FREQ 612000000
EMC MAX_FREQ 2133000000

< POWER_MODEL ID=2 NAME=MAXN_SUPER >
CPU_ONLINE CORE_0 1
CPU_A78_0 MAX_FREQ -1
GPU MIN_FREQ 0
GPU MAX_FREQ -1

# mandatory section to configure the default power mode
< PM_CONFIG DEFAULT=0 >
"""


def write(root, files):
    """Write files below a root, by their paths; numbers as the kernel writes them."""
    for path, content in files.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content if isinstance(content, str) else f"{content}\n")


def gpu(current, most, least=306, folder=GPU):
    """A GPU's clock [MHz]."""
    return {
        f"{folder}/cur_freq": current * 1_000_000,
        f"{folder}/max_freq": most * 1_000_000,
        f"{folder}/min_freq": least * 1_000_000,
        f"{folder}/available_frequencies": " ".join(f"{step}000000" for step in ORIN_STEPS),
    }


def cpu(current, most, least=115.2, policy=0):
    """The clock of one cluster [MHz]."""
    folder = f"{CPU}/policy{policy}"
    return {
        f"{folder}/scaling_cur_freq": round(current * 1000),
        f"{folder}/scaling_max_freq": round(most * 1000),
        f"{folder}/scaling_min_freq": round(least * 1000),
        f"{folder}/scaling_available_frequencies": " ".join(str(round(s * 1000)) for s in CPU_STEPS)
        + " \n",
    }


def cooling(number, kind, state):
    folder = f"{THERMAL}/cooling_device{number}"
    return {f"{folder}/type": f"{kind}\n", f"{folder}/cur_state": state, f"{folder}/max_state": 10}


def zone(number, name, celsius, *trips):
    """A thermal zone; trips are (type, temperature [°C])."""
    folder = f"{THERMAL}/thermal_zone{number}"
    files = {f"{folder}/type": f"{name}\n", f"{folder}/temp": round(celsius * 1000)}
    for index, (kind, trip) in enumerate(trips):
        files[f"{folder}/trip_point_{index}_type"] = f"{kind}\n"
        files[f"{folder}/trip_point_{index}_temp"] = round(trip * 1000)
    return files


# A cool Orin Nano with JetPack 6, clocks by load, power mode 2.
ORIN = {
    "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, "
    "EABI: aarch64, DATE: Wed Jan  8 01:49:37 UTC 2025\n",
    "etc/nvpmodel.conf": NVPMODEL_CONF,
    "var/lib/nvpmodel/status": "pmode:0002 fmode:quiet",
    "proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit\0",
    "proc/device-tree/compatible": "nvidia,p3768-0000+p3767-0005\0nvidia,tegra234\0",
    **gpu(306, 1020),
    **cpu(729.6, 1728.0),
    **cpu(729.6, 1728.0, policy=4),
    **cooling(0, "cpufreq-cpu0", 0),
    **cooling(1, "devfreq-17000000.gpu", 0),
    **cooling(2, "pwm-fan", 3),
    **cooling(3, "cpu-throttle-alert", 0),
    **cooling(10, "hot-surface-alert", 0),
    **zone(0, "cpu-thermal", 52.3, ("passive", 99), ("critical", 104.5), ("passive", 70)),
    **zone(1, "gpu-thermal", 49.0, ("active", 51), ("passive", 99), ("passive", 70)),
    **zone(2, "cv0-thermal", -256.0, ("passive", 99)),
    **zone(8, "tj-thermal", 52.3, ("passive", 99)),
}
