"""New pipelines: from templates, scripts, Pachyderm specs, Dockerfiles, Makefiles, Snakefiles and DVC stages."""
