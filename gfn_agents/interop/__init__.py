"""Adapters to other libraries, one file each; a library is imported where it is used, none here."""
