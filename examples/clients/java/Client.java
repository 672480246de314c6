import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Base64;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import okhttp3.MediaType;
import okhttp3.OkHttpClient;
import okhttp3.Request;
import okhttp3.RequestBody;
import okhttp3.Response;

/** Segment a photo through the REST service: java Client [URL] [PHOTO] [OUTPUT]. */
public final class Client {
    private static final ObjectMapper JSON = new ObjectMapper();

    public static void main(String[] args) throws IOException {
        String url = args.length > 0 ? args[0] : "http://localhost:8080/instance-segmentation";
        Path photo = Path.of(args.length > 1 ? args[1] : "demo.jpg");
        Path output = Path.of(args.length > 2 ? args[2] : "out.jpg");

        JsonNode answer = segment(url, Files.readAllBytes(photo));
        if (answer.get("errorCode").asInt() != 0) {
            System.err.println(answer.get("errorCode") + ": " + answer.get("errorMsg").asText());
            System.exit(1);
        }
        JsonNode result = answer.get("result");
        Files.write(output, Base64.getDecoder().decode(result.get("image").asText()));
        System.out.println("Output image saved at " + output);
        System.out.println("\nInstances:\n" + result.get("instances"));
    }

    private static JsonNode segment(String url, byte[] photo) throws IOException {
        Map<String, String> payload = Map.of("image", Base64.getEncoder().encodeToString(photo));
        // From bytes, not from a string: the order of the two arguments is one that OkHttp 3 and 4 share.
        RequestBody body = RequestBody.create(MediaType.get("application/json"), JSON.writeValueAsBytes(payload));
        Request request = new Request.Builder().url(url).post(body).build();
        OkHttpClient client = new OkHttpClient.Builder().readTimeout(60, TimeUnit.SECONDS).build();
        try (Response response = client.newCall(request).execute()) {
            return JSON.readTree(response.body().bytes());
        }
    }
}
