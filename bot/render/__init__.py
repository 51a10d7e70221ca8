"""Readings of incidents and journals for people: sentences, documents, pages. Pure: values in, text out.

Jinja2 lives here and nowhere else. A label of an alert is always a value and never a template. No I/O but reading our
own templates, no clock, no database, no web framework.
"""
