"""The lab: thirteen Debian hosts on one machine, made from `inventories/lab` and driven by the playbooks.

Runs on the standard library alone until it has made the virtual environment that holds Ansible.
"""
