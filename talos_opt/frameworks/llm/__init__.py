"""Large language models from their files: no weights are read, and no framework is imported.

tensors        a tensor as a file lists it: name, type, shape, bytes
gguf           the header of a GGUF file, or of several parts
checkpoint     config.json, model.safetensors.index.json and the headers of safetensors files
architecture   what a layer holds of its context, from a config or a GGUF header
shapes         the tensors that a config stands for, where no file lists them
quantised      the same with quantised weights
model          layers, their parts and what each holds and reads
devices        cards and their free memory, as the command line names them
workload       prefill and decode: context, batch, chunks, types
graph          all of it as a problem
"""
