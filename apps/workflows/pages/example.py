"""The pipeline that the form begins with."""

EXAMPLE = """\
name: my-pipeline
params:
  epochs: 5
  rates: [0.001, 0.01, 0.1]
steps:
  - name: train
    each: {in: "${{ params.rates }}", limit: 3}
    run:
      image: my-registry/train:1
      command: [python, train.py, --epochs, "${{ params.epochs }}", --rate, "${{ each }}"]
      resources: {cpu: 500m, memory: 512Mi}
  - name: choose
    run:
      image: my-registry/train:1
      # It logs the metric accuracy and the param best: the id of a run.
      command_line: python choose.py '${{ steps.train.runs }}'
  - name: register
    when: steps.choose.outputs.accuracy > 0.9
    register: {model: my-model, run: "${{ steps.choose.outputs.best }}", alias: candidate}
  - name: approve
    needs: [register]
    approve: {message: "Shall it serve?"}
  - name: deploy
    needs: [approve]
    deploy: {deployment: my-model, model: my-model, version: "${{ steps.register.outputs.version }}"}
"""
