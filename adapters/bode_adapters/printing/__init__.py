"""What print services have in common: their words, the batch that is handed over in files, and their report files.

Each adapter has its own folder (`print_folder`, `print_sftp`, `print_rest`); docs/adapters/print.md is for whoever
builds the other side.
"""
