"""Event callbacks of subscriptions, which moved between ROS 2 distributions."""

try:
    from rclpy.event_handler import SubscriptionEventCallbacks  # Jazzy and later
except ImportError:
    from rclpy.qos_event import SubscriptionEventCallbacks  # Humble

__all__ = ["SubscriptionEventCallbacks"]
