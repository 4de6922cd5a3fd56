"""Attributes of Flask-SocketIO's objects, and of those beneath them, that applications touch.

For applications that move over; ``docs/attributes.md`` has the list, with the public way beside each. Everything here
is a view: it reads the engine when it is read, keeps nothing of its own, and is made when somebody touches it, so that
an application which does not pays nothing. What is left out is an ``AttributeError`` that says what to use instead.
"""
