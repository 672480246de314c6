// Segment a photo through the REST service: Client.exe [URL] [PHOTO] [OUTPUT]
using System;
using System.IO;
using System.Net.Http;
using System.Text;
using System.Threading.Tasks;
using Newtonsoft.Json;
using Newtonsoft.Json.Linq;

static class Client
{
    static int Main(string[] args)
    {
        return Run(args).GetAwaiter().GetResult();  // Mono's mcs knows no asynchronous Main
    }

    static async Task<int> Run(string[] args)
    {
        string url = args.Length > 0 ? args[0] : "http://localhost:8080/instance-segmentation";
        string photo = args.Length > 1 ? args[1] : "demo.jpg";
        string output = args.Length > 2 ? args[2] : "out.jpg";

        JObject answer = await Segment(url, File.ReadAllBytes(photo));
        if ((int)answer["errorCode"] != 0)
        {
            Console.Error.WriteLine($"{answer["errorCode"]}: {answer["errorMsg"]}");
            return 1;
        }
        JToken result = answer["result"];
        File.WriteAllBytes(output, Convert.FromBase64String((string)result["image"]));
        Console.WriteLine($"Output image saved at {output}");
        Console.WriteLine("\nInstances:");
        Console.WriteLine(result["instances"].ToString(Formatting.None));
        return 0;
    }

    static async Task<JObject> Segment(string url, byte[] photo)
    {
        var payload = new JObject { { "image", Convert.ToBase64String(photo) } };
        using (var client = new HttpClient { Timeout = TimeSpan.FromMinutes(1) })
        using (var body = new StringContent(payload.ToString(Formatting.None), Encoding.UTF8, "application/json"))
        using (var response = await client.PostAsync(url, body))
        {
            return JObject.Parse(await response.Content.ReadAsStringAsync());
        }
    }
}
