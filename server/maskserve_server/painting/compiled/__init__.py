"""The painting of masks in C: the same run lengths as the modules beside this package compute in numpy, sooner.

`build` compiles it, when a wheel is built or the project is installed from its source. `library` loads what was
compiled. Without a library everything works as with one: masks are painted in numpy.
"""
