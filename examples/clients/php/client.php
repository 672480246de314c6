<?php
// Segment a photo through the REST service: php client.php [URL] [PHOTO] [OUTPUT]

declare(strict_types=1);

$url = $argv[1] ?? "http://localhost:8080/instance-segmentation";
$photo = $argv[2] ?? "demo.jpg";
$output = $argv[3] ?? "out.jpg";

function fail(string $message): never
{
    fwrite(STDERR, $message . "\n");
    exit(1);
}

function segment(string $url, string $photo): array
{
    $curl = curl_init($url);
    curl_setopt_array($curl, [
        CURLOPT_POSTFIELDS => json_encode(["image" => base64_encode($photo)]),
        CURLOPT_HTTPHEADER => ["Content-Type: application/json"],
        CURLOPT_RETURNTRANSFER => true,
        CURLOPT_TIMEOUT => 60,
    ]);
    $body = curl_exec($curl);
    if ($body === false) {
        fail(curl_error($curl));
    }
    return json_decode($body, true, flags: JSON_THROW_ON_ERROR);
}

$bytes = file_get_contents($photo);
if ($bytes === false) {
    exit(1);  // PHP has said why
}
$answer = segment($url, $bytes);
if ($answer["errorCode"] !== 0) {
    fail("{$answer["errorCode"]}: {$answer["errorMsg"]}");
}
file_put_contents($output, base64_decode($answer["result"]["image"]));
echo "Output image saved at $output\n\nInstances:\n";
echo json_encode($answer["result"]["instances"]), "\n";
