// Run by mongosh once the server is up: makes the replica set and the service's user. It may be run
// again at any time, and then gives the user the password that is in the file.
const fs = require("fs");
const secret = (name) => fs.readFileSync(`/run/secrets/${name}`, "utf8").trim();

const admin = db.getSiblingDB("admin");
admin.auth("root", secret("mongo_root_password"));

try {
  rs.status();
} catch (error) {
  if (error.codeName !== "NotYetInitialized") throw error;
  rs.initiate({ _id: "rs0", members: [{ _id: 0, host: "mongo:27017" }] });
}
for (let tries = 0; !db.hello().isWritablePrimary; tries += 1) {
  if (tries === 60) throw new Error("no primary after a minute");
  sleep(1000);
}

const pwd = secret("mongo_password");
const roles = [
  { role: "readWrite", db: "patchproof_prod" },
  { role: "dbAdmin", db: "patchproof_prod" },
];
if (admin.getUser("patchproof")) {
  admin.updateUser("patchproof", { pwd, roles });
} else {
  admin.createUser({ user: "patchproof", pwd, roles });
}
