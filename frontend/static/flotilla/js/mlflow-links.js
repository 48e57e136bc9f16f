// MLflow's client prints links such as /#/experiments/3/runs/…, of which a server never sees what follows the "#".

function follow() {
  const link = /^#\/((?:experiments|models)(?:[/?].*)?)$/.exec(location.hash);
  if (link) location.replace(`/_mlflow/${link[1]}`);
}

window.addEventListener("hashchange", follow);
follow();
