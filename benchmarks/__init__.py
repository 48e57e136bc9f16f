"""Benchmarks, one package a plane: `make bench NAME=clusters`. They measure and print; they are no tests."""
