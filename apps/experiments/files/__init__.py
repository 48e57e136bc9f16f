"""The files of runs and of logged models: where they are kept, how they are listed and handed out."""
