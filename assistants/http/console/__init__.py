"""The operator's page: what runs do, what they wait for, and the buttons that let them go on.

It is rendered here, needs no script and nothing from elsewhere, and sees every run of the namespace.
"""
