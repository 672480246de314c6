// Segment a photo through the REST service: node client.js [URL] [PHOTO] [OUTPUT]
'use strict';

const axios = require('axios');
const fs = require('node:fs/promises');

const [
  url = 'http://localhost:8080/instance-segmentation',
  photo = 'demo.jpg',
  output = 'out.jpg',
] = process.argv.slice(2);

async function main() {
  const image = (await fs.readFile(photo)).toString('base64');
  const response = await axios.post(url, { image }, { maxBodyLength: Infinity, timeout: 60000 });
  const { result } = response.data;

  await fs.writeFile(output, Buffer.from(result.image, 'base64'));
  console.log(`Output image saved at ${output}`);
  console.log('\nInstances:');
  console.log(JSON.stringify(result.instances));
}

main().catch((error) => {
  const answer = error.response?.data;
  console.error(answer?.errorMsg ? `${answer.errorCode}: ${answer.errorMsg}` : error.message);
  process.exitCode = 1;
});
